// One thread of the module with threads: Emscripten's glue waits for what it is to run.
import glue from "./octavo_runtime_threads.mjs";

void glue();
