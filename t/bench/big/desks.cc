/*
 * Functions by the thousand, as templates make them, with the debug
 * information that goes with containers of everything.  The object is copied
 * with another name for "app_000", of the same length.
 *
 * DESKS: how many there are in each copy.
 */

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "big.h"


namespace app_000 {

template <int N>
struct Order {
    int                                      id = N;
    std::string                              name;
    std::map<std::string, std::vector<int>>  lines;
};


template <int N>
class Desk {
public:
    static long step(int depth, unsigned seed, const big::leaf &last)
    {
        return desk().pass(depth, seed, last);
    }

    /* Not called by walk(): here for its size. */
    long add(int id)
    {
        auto order = std::make_shared<Order<N>>();
        long sum = 0;

        order->id = id;
        order->name = std::to_string(id);
        order->lines[order->name].push_back(id);
        orders[id] = order;
        by_name[order->name] = *order;

        for (auto &hook : hooks) {
            sum += hook(*order);
        }

        return sum;
    }

    void hook(int k)
    {
        hooks.push_back([k](Order<N> &order) { return order.id + k; });
    }

private:
    static Desk &desk()
    {
        static Desk one;

        return one;
    }

    long pass(int depth, unsigned seed, const big::leaf &last)
    {
        if (depth < 0) {
            hook(depth);
            return add(depth);
        }

        std::function<long(int)> next = [&](int left) {
            return big::walk(left, seed * 1103515245u + N, last);
        };

        return next(depth) + 1;
    }

    std::map<int, std::shared_ptr<Order<N>>>   orders;
    std::unordered_map<std::string, Order<N>>  by_name;
    std::vector<std::function<int(Order<N> &)>>  hooks;
};


template <int N>
struct Enlist {
    Enlist()
    {
        Enlist<N - 1> others;

        big::enlist(Desk<N - 1>::step);
    }
};


template <>
struct Enlist<0> { };

static Enlist<DESKS>  enlist_all;

}
