// What goes wrong at a provider of models, and whether to try again. It is what the Python SDK says (model_errors.py).
//
// No library of a provider is imported. Their errors are known by their shape: a status of HTTP, the names
// of their classes, the codes of Node.js and of its fetch, what the provider has written.
import { Cancelled, Failure, Suspended } from "./errors.js";

/** Classes of the libraries of OpenAI, Anthropic and others: such an error is a provider's. */
const OF_MODELS = ["APIError"];
const TIMEOUTS = ["APIConnectionTimeoutError", "HeadersTimeoutError", "BodyTimeoutError", "ConnectTimeoutError"];
/** The one that says no more than that something has happened to the connection. */
const CONNECTION = "APIConnectionError";
/** Codes of errors of a connection that there was. EPIPE may be the pool's. */
const BROKEN_OFF = ["ECONNRESET", "UND_ERR_SOCKET", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH", "ERR_STREAM_PREMATURE_CLOSE"];
/** Codes of one that there was not. */
const AWAY = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT"];
/** Statuses below 500 after which another try may succeed. */
const FOR_THE_MOMENT = [408, 409, 425, 429];
/** What providers call errors in mid-stream that another try does not mend. */
const FOR_GOOD = [
  "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large",
  "content_filter", "context_length_exceeded",
];
const PAY = ["insufficient_quota", "billing_error", "billing_hard_limit_reached"];

/** What a provider's library has thrown, as a failure of the run. null where it is no such error. */
export function failureOf(error) {
  const causes = [...causesOf(error)];
  if (causes.some((one) => one instanceof Failure || one instanceof Cancelled || one instanceof Suspended)) return null;
  for (const one of causes) {
    const found = ofStatus(one);
    if (found) return new Failure(error.message, { ...found, cause: error });
  }
  const lost = [...causes].reverse().map(ofConnection).find(Boolean); // the first cause says most
  if (lost) return new Failure(`The model's server ${lost}`, { retryable: true, cause: error });
  const told = causes.find((one) => namesOf(one).some((name) => OF_MODELS.includes(name)));
  if (!told) return null;
  const retryable = !kindsOf(told).some((kind) => FOR_GOOD.includes(kind) || PAY.includes(kind));
  return new Failure(`The model's server broke off: ${told.message}`, { retryable, cause: error });
}

/** The error, those that it stands for, and what caused it. */
function causesOf(error) {
  const found = new Set([error]);
  for (const one of found) {
    for (const cause of [...(one instanceof AggregateError ? one.errors : []), one?.cause]) {
      if (cause instanceof Error) found.add(cause);
    }
  }
  return found;
}

function ofStatus(error) {
  const status = [error?.status, error?.statusCode, error?.response?.status].find((one) => typeof one === "number");
  if (!(error instanceof Error) || !(status >= 400 && status < 600)) return null;
  const mayHelp = status >= 500 || FOR_THE_MOMENT.includes(status);
  return { retryable: mayHelp && !kindsOf(error).some((kind) => PAY.includes(kind)) };
}

/** What has become of the connection, if the error is of one. */
function ofConnection(error) {
  const names = namesOf(error);
  if (names.some((name) => TIMEOUTS.includes(name))) return "did not answer in time.";
  if (BROKEN_OFF.includes(error?.code)) return `broke off: ${error.message}`;
  if (AWAY.includes(error?.code) || names.includes(CONNECTION)) return `could not be reached: ${error.message}`;
  return null;
}

/** Of its class and of those above it. */
function namesOf(error) {
  const names = [];
  for (let one = error; one instanceof Error; one = Object.getPrototypeOf(one)) names.push(one.constructor.name);
  return names;
}

/** What the provider calls the error. */
function kindsOf(error) {
  const places = [error, error.error, error.error?.error];
  return places.flatMap((place) => [place?.code, place?.type]).filter((kind) => typeof kind === "string");
}
