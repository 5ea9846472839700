import glue from "./octavo_runtime.mjs";
import { serve } from "./serve.js";

void serve({ glue });
