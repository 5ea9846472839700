import type { Glue } from "./engine.js";

declare const create: Glue;
export default create;
