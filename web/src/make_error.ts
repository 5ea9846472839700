// How the package makes its errors.
import * as errors from "./errors.js";

const classes: Record<
  string,
  new (detail: errors.ErrorDetail, options?: ErrorOptions) => errors.OctavoError
> = {
  invalid_model: errors.InvalidModelError,
  unsupported_op: errors.UnsupportedOpError,
  invalid_argument: errors.InvalidArgumentError,
  shape_mismatch: errors.ShapeMismatchError,
  invalid_data: errors.InvalidDataError,
  limit_exceeded: errors.LimitExceededError,
  out_of_memory: errors.OutOfMemoryError,
  not_found: errors.NotFoundError,
  io: errors.LoadError,
  unavailable: errors.UnavailableError,
  disposed: errors.DisposedError,
};

export function makeError(detail: errors.ErrorDetail, options?: ErrorOptions): errors.OctavoError {
  return new (classes[detail.code] ?? errors.InternalError)(detail, options);
}

export const invalidArgument = (message: string, tensor?: string) =>
  new errors.InvalidArgumentError({
    code: "invalid_argument",
    message,
    ...(tensor ? { tensor } : {}),
  });
