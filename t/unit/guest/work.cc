// C++ for the walker to get lost in: templates, a regex, exceptions.

#include <map>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>


template <int N> struct Deep
{
    static long
    run(std::vector<std::string> &words)
    {
        long n = Deep<N - 1>::run(words);

        try {
            if (words.size() % N == 0) {
                throw std::runtime_error(words.back());
            }

            words.push_back(std::to_string(n * N));

        } catch (const std::exception &e) {
            n += std::string(e.what()).size();
            words.pop_back();
        }

        return n;
    }
};

template <> struct Deep<1>
{
    static long
    run(std::vector<std::string> &words)
    {
        static const std::regex pattern("(a+)(b|c)*([0-9]{2,4})\\s+x?");
        std::map<std::string, int> seen;
        std::smatch match;
        std::string text = "aaabcbc1234 xaab99 aaaaaaaaaaaaac12  x";

        for (auto i = text.cbegin();
             std::regex_search(i, text.cend(), match, pattern);
             i = match.suffix().first)
        {
            seen[match.str()]++;
        }

        return words.size() + seen.size();
    }
};


extern "C" long
work_cxx(void)
{
    std::vector<std::string> words(7, "word");

    return Deep<18>::run(words);
}
