import { serve } from "./serve.js";
import { loader } from "./threads.js";

void serve(loader);
