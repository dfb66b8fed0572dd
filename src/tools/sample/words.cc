#include "sample.hpp"

#include <cctype>
#include <sstream>

std::map<std::string, int> count_words(const std::string &text)
{
    std::map<std::string, int> counts;
    std::istringstream stream(text);
    for (std::string word; stream >> word;) {
        for (char &letter : word)
            letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
        ++counts[word];
    }
    return counts;
}
