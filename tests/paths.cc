#include "tests/paths.h"

#include "runtime/status.h"

namespace octavo {

std::string source_path(std::string_view path) { return concat(OCTAVO_SOURCE_DIR "/", path); }

std::string octavo_program() { return OCTAVO_BINARY; }

}  // namespace octavo
