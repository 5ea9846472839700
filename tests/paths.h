// Where the project and its program are: known to one source, so that the others are compiled the
// same in every folder and come from the compiler cache.
#pragma once

#include <string>
#include <string_view>

namespace octavo {

/// Of a path relative to the project's root.
std::string source_path(std::string_view path);
std::string octavo_program();

}  // namespace octavo
