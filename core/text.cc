#include "core/text.h"

#include <cstdio>

#include "runtime/status.h"

namespace octavo {

std::string number_text(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

std::string short_number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 1000) return concat(bytes, " B");
  if (bytes < 1'000'000) return concat(number_text(static_cast<double>(bytes) / 1e3, 1), " kB");
  return concat(number_text(static_cast<double>(bytes) / 1e6, 2), " MB");
}

std::string percent_text(double share, int decimals) {
  return concat(number_text(100 * share, decimals), " %");
}

std::string hash_text(const ContentHash& hash) {
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) {
    text += "0123456789abcdef"[hash.value() >> shift & 15];
  }
  return text;
}

}  // namespace octavo
