/*
 * A C++ program whose functions have the names that C++ gives them: templates
 * of templates, lambdas, operators, members of an unnamed namespace.  It burns,
 * allocates and waits in them until it is killed.
 */

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#define NOINLINE  __attribute__((noinline))


namespace shop {


struct Order {
    std::string  item;
    long         price;

    NOINLINE bool operator<(const Order &other) const
    {
        return price * 31 % 97 < other.price * 31 % 97;
    }
};


namespace {

/* inlined, and so without a mangled name */
struct Till {
    long  sum;

    long close(long n)
    {
        for (int i = 0; i < 2000; i++) {
            n = n * 31 + i;
            __asm__ volatile ("" : "+r" (n));
        }

        return sum + n;
    }
};

}


class Ledger {
public:
    NOINLINE void book(const std::string &who,
        const std::vector<std::unique_ptr<Order>> &orders);

    template <class Compare>
    NOINLINE void arrange(std::vector<Order> &orders, Compare compare)
    {
        std::sort(orders.begin(), orders.end(), compare);
    }

    NOINLINE long balance();

private:
    std::map<std::string, std::vector<Order>>  books_;
    std::mutex                                 mutex_;
};


void
Ledger::book(const std::string &who,
    const std::vector<std::unique_ptr<Order>> &orders)
{
    std::lock_guard<std::mutex>  lock(mutex_);
    std::vector<Order>          &book = books_[who];

    book.clear();

    for (const auto &order : orders) {
        book.push_back(*order);
    }

    arrange(book, [](const Order &a, const Order &b) { return b < a; });
}


long
Ledger::balance()
{
    std::lock_guard<std::mutex>  lock(mutex_);
    Till                         till{1};
    long                         sum = 0;

    for (const auto &[who, book] : books_) {
        for (const Order &order : book) {
            sum += till.close(order.price);
        }
    }

    return sum;
}

}


int
main()
{
    shop::Ledger                               ledger;
    std::vector<std::unique_ptr<shop::Order>>  orders;

    for (long i = 0; i < 400; i++) {
        orders.push_back(std::make_unique<shop::Order>(
            shop::Order{"an item with a name of some length", i * 7 % 1000}));
    }

    std::thread  reader([&ledger] {
        for (;;) {
            (void) ledger.balance();
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });

    for (;;) {
        ledger.book("a customer with a long name", orders);
    }
}
