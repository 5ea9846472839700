import glue from "./octavo.mjs";
import { serve } from "./serve.js";

void serve({ glue });
