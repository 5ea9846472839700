// What people see: tables, colours, progress, and numbers with units.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "core/octavo.h"

namespace octavo::cli {

enum class Color : uint8_t { kNone, kBold, kDim, kRed, kGreen, kYellow };
/// `text` in a colour if `stream` is a terminal and NO_COLOR is not set.
std::string colored(const std::string& text, Color color, std::FILE* stream = stdout);

/// Columns as wide as their longest cell; those whose cells are all numbers are aligned right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  void print() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

/// A bar with the time left on stderr if that is a terminal, else one line per 10 % of work
/// that takes longer than two seconds.
class Progress {
 public:
  explicit Progress(std::string label);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void update(int64_t done, int64_t total);
  /// Never cancels. Refers to this object.
  ProgressFn fn() {
    return [this](int64_t done, int64_t total) {
      update(done, total);
      return true;
    };
  }

 private:
  std::string label_;
  bool is_terminal_;
  std::chrono::steady_clock::time_point start_, drawn_ = {};
  int64_t tenths_ = 0, last_ = 0;
  size_t width_ = 0;  // of the line drawn
};

std::string format_number(double value, int decimals);
std::string format_bytes(int64_t bytes);   // "13.6 MB", of 10^6 bytes
std::string format_ms(double ms);          // "4.21 ms"
std::string format_percent(double share);  // 0.8325: "83.25 %"

}  // namespace octavo::cli
