// What the author of a worker imports: import { Failure } from "branchline".
export { Cancelled, Failure } from "./errors.js";
export { Message } from "./messages.js";
export { serve } from "./agents.js";
export { beginning, goOn } from "./beginnings.js";
