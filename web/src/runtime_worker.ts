import createOctavoRuntime from "./octavo_runtime.mjs";
import { serve } from "./serve.js";

void serve(createOctavoRuntime);
