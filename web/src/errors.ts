/** What the core says about an error; the form in which errors cross from the worker. */
export interface ErrorDetail {
  code: string;
  message: string;
  node?: string;
  tensor?: string;
}

/** The base of all errors that Octavo throws, abortion aside. */
export class OctavoError extends Error {
  // Literal, here and below: minifiers rename classes.
  override readonly name: string = "OctavoError";
  /** "invalid_model", "unsupported_op", "shape_mismatch", ... */
  readonly code: string;
  /** Name of the node concerned, if any. */
  readonly node?: string;
  /** Name of the tensor concerned, if any. */
  readonly tensor?: string;

  constructor(detail: ErrorDetail, options?: ErrorOptions) {
    super(detail.message, options);
    this.code = detail.code;
    if (detail.node) this.node = detail.node;
    if (detail.tensor) this.tensor = detail.tensor;
  }
}

/** The model's bytes or structure are wrong. */
export class InvalidModelError extends OctavoError {
  override readonly name = "InvalidModelError";
}
/** The model uses operators that Octavo does not have. */
export class UnsupportedOpError extends OctavoError {
  override readonly name = "UnsupportedOpError";
  /** All of them, where the message lists them. */
  readonly operators: string[];
  constructor(detail: ErrorDetail, options?: ErrorOptions) {
    super(detail, options);
    const listed = /operators?[^:]*: (.*)$/.exec(detail.message)?.[1] ?? "";
    this.operators = [...listed.matchAll(/(?:^|, )([\w.:]+) \(\d/g)].map((match) => match[1]!);
  }
}
/** An option, a name or a call is wrong. */
export class InvalidArgumentError extends OctavoError {
  override readonly name = "InvalidArgumentError";
}
/** Shapes or types do not fit together. */
export class ShapeMismatchError extends OctavoError {
  override readonly name = "ShapeMismatchError";
}
/** Calibration or input data are wrong (NaN, say). */
export class InvalidDataError extends OctavoError {
  override readonly name = "InvalidDataError";
}
/** A stated limit would be passed. */
export class LimitExceededError extends OctavoError {
  override readonly name = "LimitExceededError";
}
export class OutOfMemoryError extends OctavoError {
  override readonly name = "OutOfMemoryError";
}
/** A named thing (file, tensor, node, option) does not exist. */
export class NotFoundError extends OctavoError {
  override readonly name = "NotFoundError";
}
/** A file could not be fetched or read. */
export class LoadError extends OctavoError {
  override readonly name = "LoadError";
}
/** Something is missing in this version or on this machine. */
export class UnavailableError extends OctavoError {
  override readonly name = "UnavailableError";
}
/** The object was disposed of. */
export class DisposedError extends OctavoError {
  override readonly name = "DisposedError";
}
/** A fault of Octavo itself. */
export class InternalError extends OctavoError {
  override readonly name = "InternalError";
}
