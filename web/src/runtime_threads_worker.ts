import { serve } from "./serve.js";
import { loader } from "./runtime_threads.js";

void serve(loader);
