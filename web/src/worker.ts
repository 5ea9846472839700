import createOctavo from "./octavo.mjs";
import { serve } from "./serve.js";

void serve(createOctavo);
