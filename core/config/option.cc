#include "core/config/option.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace octavo {
namespace {

template <class... Fns>
struct Overload : Fns... {
  using Fns::operator()...;
};

std::string quoted_list(std::span<const char* const> items) {
  std::string text;
  for (const char* item : items) text += concat(text.empty() ? "" : ", ", "'", item, "'");
  return text;
}

Status not_a(std::string_view text, const char* what) {
  return fail(ErrorCode::kInvalidArgument, "'", text, "' is not ", what);
}

Status read_flag(std::string_view text, bool& out) {
  if (text != "true" && text != "1" && text != "false" && text != "0") {
    return fail(ErrorCode::kInvalidArgument, "'", text, "' is neither true nor false");
  }
  out = text == "true" || text == "1";
  return {};
}

Status read_number(std::string_view text, int64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size())
    return not_a(text, "a whole number");
  return {};
}
// LLVM's library has no from_chars for floating point yet.
Status read_number(std::string_view text, double& out) {
  const std::string copy(text);
  char* end = nullptr;
  out = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != 0 || !std::isfinite(out)) return not_a(text, "a number");
  return {};
}

Status check_bounds(const OptionDef& option, double value) {
  if (value >= option.min && value <= option.max) return {};
  const std::string bounds = std::isinf(option.max)
                                 ? concat("at least ", option.min)
                                 : concat("from ", option.min, " to ", option.max);
  return fail(ErrorCode::kInvalidArgument, option.name, " is ", value, "; it must be ", bounds);
}

Status check_option(const OptionDef& option, ConfigBase& config) {
  return std::visit(
      Overload{
          [&](const std::string* value) -> Status {
            if (option.choices.empty() ||
                std::ranges::find(option.choices, *value) != option.choices.end()) {
              return {};
            }
            return fail(ErrorCode::kInvalidArgument, option.name, " '", *value, "' is not one of ",
                        quoted_list(option.choices));
          },
          [&](const int64_t* value) { return check_bounds(option, static_cast<double>(*value)); },
          [&](const double* value) { return check_bounds(option, *value); },
          [&](const std::optional<double>* value) {
            return *value ? check_bounds(option, **value) : Status();
          },
          [](const auto*) { return Status(); }},
      option.in(config));
}

}  // namespace

bool ConfigBase::allows(std::string_view node_name, std::string_view op_type) const {
  return std::ranges::any_of(white_list, [&](const std::string& pattern) {
    return glob_match(pattern, node_name) || glob_match(pattern, op_type);
  });
}

OptionDef white_list_option(const char* help) {
  return {.name = "white_list",
          .help = help,
          .in = [](ConfigBase& config) -> OptionRef { return &config.white_list; },
          .in_local = false};
}

Status set_option(const OptionDef& option, ConfigBase& config, std::string_view text) {
  return std::visit(Overload{[&](std::string* value) -> Status {
                               *value = text;
                               return {};
                             },
                             [&](bool* value) { return read_flag(text, *value); },
                             [&](int64_t* value) { return read_number(text, *value); },
                             [&](double* value) { return read_number(text, *value); },
                             [&](std::optional<double>* value) -> Status {
                               value->reset();
                               if (text == "auto") return {};
                               return read_number(text, value->emplace());
                             },
                             [&](std::vector<std::string>* value) -> Status {
                               value->clear();
                               for (size_t start = 0; start <= text.size();) {
                                 const size_t end = std::min(text.find(',', start), text.size());
                                 if (end > start) {
                                   value->emplace_back(text.substr(start, end - start));
                                 }
                                 start = end + 1;
                               }
                               return {};
                             }},
                    option.in(config));
}

std::string option_text(const OptionDef& option, const ConfigBase& config) {
  // The option is only read.
  return std::visit(
      Overload{[](const std::string* value) { return *value; },
               [](const bool* value) { return std::string(*value ? "true" : "false"); },
               [](const std::optional<double>* value) {
                 return *value ? concat(**value) : std::string("auto");
               },
               [](const std::vector<std::string>* value) {
                 std::string text;
                 for (const std::string& item : *value) text += (text.empty() ? "" : ",") + item;
                 return text;
               },
               [](const auto* value) { return concat(*value); }},
      option.in(const_cast<ConfigBase&>(config)));
}

Status validate_config(const ConfigView& view) {
  for (const OptionDef& option : view.fields) OCTAVO_TRY(check_option(option, *view.config));
  for (const auto& [name, config] : view.local) {
    if (config->white_list != std::vector<std::string>{"*"} &&
        config->white_list != view.config->white_list) {
      return fail(ErrorCode::kInvalidArgument, "the local configuration of '", name,
                  "' has a white_list; it belongs to the outer configuration");
    }
    for (const OptionDef& option : view.fields) {
      if (!option.in_local) continue;
      if (auto status = check_option(option, *config); !status) {
        return fail(status.error().code, "local configuration of '", name,
                    "': ", status.error().message);
      }
    }
  }
  return {};
}

int match_rank(std::string_view pattern, std::string_view node_name, std::string_view op_type) {
  if (pattern == node_name) return 3;
  if (pattern == op_type) return 1;
  return glob_match(pattern, node_name) ? 2 : 0;
}

bool glob_match(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;  // let the last * take one character more
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string nearest_name(std::string_view name, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    // Levenshtein distance, one row at a time.
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t substituted = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view name, std::span<const std::string> candidates) {
  const std::string nearest = nearest_name(name, candidates);
  return nearest.empty() ? "" : concat("; did you mean '", nearest, "'?");
}

const OptionDef* find_option(std::span<const OptionDef> fields, std::string_view name) {
  const auto found =
      std::ranges::find_if(fields, [&](const OptionDef& o) { return name == o.name; });
  return found == fields.end() ? nullptr : &*found;
}

}  // namespace octavo
