// Numbers for people to read.
#pragma once

#include <cstdint>
#include <string>

#include "core/content_hash.h"

namespace octavo {

std::string number_text(double value, int decimals);
/// Three significant digits.
std::string short_number_text(double value);
std::string bytes_text(int64_t bytes);  // "13.61 MB", of 10^6 bytes
std::string percent_text(double share, int decimals = 2);
/// 16 hexadecimal digits.
std::string hash_text(const ContentHash& hash);

}  // namespace octavo
