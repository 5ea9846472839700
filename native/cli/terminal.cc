#include "native/cli/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace octavo::cli {
namespace {

constexpr size_t kMaxCell = 60;
constexpr int64_t kBarWidth = 30;

/// Columns that the text takes: UTF-8 continuation bytes take none.
size_t text_width(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

/// Names come from models: no control characters reach the terminal, and long ones lose their
/// middle.
std::string cell_text(const std::string& text) {
  std::string out = text;
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  if (out.size() <= kMaxCell) return out;
  return out.substr(0, kMaxCell / 2 - 2) + "..." + out.substr(out.size() - (kMaxCell / 2 - 1));
}

bool looks_like_number(const std::string& text) {
  return text.empty() || text == "-" || text.find_first_of("0123456789") == 0 ||
         (text.size() > 1 && text[0] == '-' && text.find_first_of("0123456789") == 1);
}

std::string pad(const std::string& text, size_t width, bool right) {
  const std::string space(width - std::min(width, text_width(text)), ' ');
  return right ? space + text : text + space;
}

}  // namespace

std::string colored(const std::string& text, Color color, std::FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  const bool plain = no_color != nullptr && no_color[0] != '\0';
  if (color == Color::kNone || plain || ::isatty(::fileno(stream)) == 0) return text;
  constexpr const char* kCodes[] = {"", "1", "2", "31", "32", "33"};
  return concat("\x1b[", kCodes[static_cast<size_t>(color)], "m", text, "\x1b[0m");
}

void Table::print() const {
  std::vector<size_t> widths(header_.size());
  std::vector<bool> right(header_.size(), true);
  std::vector<std::vector<std::string>> rows = rows_;
  for (size_t c = 0; c < header_.size(); ++c) {
    widths[c] = text_width(header_[c]);
    for (auto& row : rows) {
      // The last column holds explanations, which may be long.
      if (c + 1 < header_.size()) row[c] = cell_text(row[c]);
      widths[c] = std::max(widths[c], text_width(row[c]));
      right[c] = right[c] && looks_like_number(row[c]);
    }
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string out;
    for (size_t c = 0; c < cells.size(); ++c) {
      const bool last_left = c + 1 == cells.size() && !right[c];
      out += concat(c == 0 ? "" : "  ", last_left ? cells[c] : pad(cells[c], widths[c], right[c]));
    }
    return out;
  };
  std::printf("%s\n", colored(line(header_), Color::kBold).c_str());
  for (const auto& row : rows) std::printf("%s\n", line(row).c_str());
}

// Work that takes no longer needs no log lines.
constexpr double kQuietSeconds = 2;

Progress::Progress(std::string label)
    : label_(std::move(label)),
      is_terminal_(::isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (is_terminal_ && width_ > 0) std::fprintf(stderr, "\r%s\r", std::string(width_, ' ').c_str());
}

void Progress::update(int64_t done, int64_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (done < last_) {  // the next pass
    start_ = now;
    tenths_ = 0;
  }
  last_ = done;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  if (!is_terminal_) {
    const int64_t tenths = total > 0 ? done * 10 / total : 0;
    if (tenths <= tenths_ || elapsed < kQuietSeconds) return;
    tenths_ = tenths;
    std::fprintf(stderr, "%s: %lld %% (%lld of %lld, %.1f s)\n", label_.c_str(),
                 static_cast<long long>(tenths * 10), static_cast<long long>(done),
                 static_cast<long long>(total), elapsed);
    return;
  }
  if (done != total && std::chrono::duration<double>(now - drawn_).count() < 0.1) return;
  drawn_ = now;
  std::string line = concat(label_, " ");
  if (total > 0) {
    const int64_t filled = std::clamp<int64_t>(done * kBarWidth / total, 0, kBarWidth);
    line +=
        concat("[", std::string(static_cast<size_t>(filled), '#'),
               std::string(static_cast<size_t>(kBarWidth - filled), '.'), "] ", done, "/", total);
    if (done > 0) {
      const double left = elapsed / static_cast<double>(done) * static_cast<double>(total - done);
      line += concat(", ", format_number(left, left < 10 ? 1 : 0), " s left");
    }
  } else {
    line += std::to_string(done);
  }
  std::fprintf(stderr, "\r%s", pad(line, width_, false).c_str());
  std::fflush(stderr);
  width_ = std::max(width_, line.size());
}

std::string format_number(double value, int decimals) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

std::string format_bytes(int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 1000) return concat(bytes, " B");
  if (value < 1e6) return concat(format_number(value / 1e3, 1), " kB");
  if (value < 1e9) return concat(format_number(value / 1e6, 2), " MB");
  return concat(format_number(value / 1e9, 2), " GB");
}

std::string format_ms(double ms) {
  return concat(format_number(ms, ms < 10 ? 3 : ms < 100 ? 2 : 1), " ms");
}

std::string format_percent(double share) { return concat(format_number(share * 100, 2), " %"); }

}  // namespace octavo::cli
