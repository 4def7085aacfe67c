/** The part of JSON Schema that forms are made from, and a first validation before the server's. */

export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  /** The names of the values of `enum`, where they have names. */
  names?: (string | undefined)[];
  const?: unknown;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  /** The names of the definitions that were resolved on the way to this schema. */
  within?: readonly string[];
}

export type Kind = 'choice' | 'fixed' | 'number' | 'boolean' | 'text' | 'object' | 'array' | 'other';

/** The schema with its references resolved. A reference to a definition that contains it stays, as it would have no end. */
export function resolve(schema: Schema, root: Schema, within: readonly string[] = schema.within ?? []): Schema {
  const name = schema.$ref?.match(/^#\/(?:\$defs|definitions)\/(.+)$/)?.[1] ?? '';
  const target = within.includes(name) ? undefined : (root.$defs ?? (root as { definitions?: Record<string, Schema> }).definitions)?.[name];
  const { $ref: _, ...own } = schema;
  let merged: Schema = target ? { ...resolve(target, root, [...within, name]), ...own } : { ...own, within };
  for (const part of merged.allOf ?? []) {
    const more = resolve(part, root, merged.within);
    merged = { ...more, ...merged, within: more.within, properties: { ...more.properties, ...merged.properties } };
  }
  // "This or null" is this, left empty.
  const real = (merged.anyOf ?? merged.oneOf)?.filter((part) => part.type !== 'null');
  if (real?.length === 1 && real[0]) {
    const only = resolve(real[0], root, merged.within);
    merged = { ...only, ...merged, within: only.within, anyOf: undefined as never, oneOf: undefined as never };
  } else if (real?.length && real.every((part) => 'const' in part)) merged = { ...merged, enum: real.map((part) => part.const), names: real.map((part) => part.title) };
  return merged;
}

/** The fields of a resolved object, each resolved as well. */
export function fieldsOf(schema: Schema, root: Schema): [name: string, part: Schema][] {
  return Object.entries(schema.properties ?? {}).map(([name, part]) => [name, resolve(part, root, schema.within)]);
}

export function kindOf(schema: Schema): Kind {
  if ('const' in schema) return 'fixed';
  if (schema.enum) return 'choice';
  const types = [schema.type ?? []].flat().filter((type) => type !== 'null');
  const type = types[0] ?? (schema.properties ? 'object' : schema.items ? 'array' : undefined);
  if (types.length > 1 && !types.every((part) => part === 'integer' || part === 'number')) return 'other';
  switch (type) {
    case 'integer':
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    case 'string':
      return 'text';
    case 'object':
      return schema.properties ? 'object' : 'other';
    case 'array':
      return schema.items ? 'array' : 'other';
    default:
      return 'other';
  }
}

export const LONG = 300;

export function isLong(schema: Schema): boolean {
  return schema.format === 'textarea' || schema.format === 'multi-line' || (schema.maxLength ?? 0) > LONG * 2 || /prompt|text|instructions/i.test(schema.title ?? '');
}

type FieldError = readonly [path: string, message: string];

/** The errors that can be found without the server, which validates everything. */
export function check(given: unknown, value: unknown, path = '', root: Schema = given as Schema): FieldError[] {
  const schema = resolve(given as Schema, root);
  const kind = kindOf(schema);
  // Whether a missing value is allowed is left to the server.
  if (value === undefined || (value === null && (kind === 'array' || kind === 'object'))) return [];
  switch (kind) {
    case 'number':
      return typeof value === 'number' ? numberErrors(schema, value, path) : [[path, 'must be a number']];
    case 'text':
      return textErrors(schema, value, path);
    case 'array': {
      if (!Array.isArray(value)) return [[path, 'must be a list']];
      const items: unknown[] = value;
      const few = items.length < (schema.minItems ?? 0) ? [[path, `must have at least ${counted(schema.minItems ?? 0, 'item')}`] as const] : [];
      const many = items.length > (schema.maxItems ?? Infinity) ? [[path, `must have at most ${counted(schema.maxItems ?? 0, 'item')}`] as const] : [];
      return [...few, ...many, ...items.flatMap((item, index) => check(schema.items, item, join(path, index), root))];
    }
    case 'object': {
      if (!isObject(value)) return [[path, 'must be an object']];
      return fieldsOf(schema, root).flatMap(([name, part]): FieldError[] => {
        const field = fieldOf(schema, name, part, value);
        const missing = field === undefined && part.default === undefined && schema.required?.includes(name);
        return missing ? [[join(path, name), 'is required']] : check(part, field, join(path, name), root);
      });
    }
    default:
      return [];
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value of an object's field; if it is required and missing, the only value that it can have. */
function fieldOf(schema: Schema, name: string, part: Schema, value: Record<string, unknown>): unknown {
  return value[name] === undefined && schema.required?.includes(name) ? onlyValue(part) : value[name];
}

/** The only value that a schema allows for, if there is no default. */
function onlyValue(schema: Schema): unknown {
  if ('const' in schema) return schema.const;
  if (schema.default !== undefined) return undefined;
  switch (kindOf(schema)) {
    case 'object':
      return {};
    case 'boolean':
      return false;
    default:
      return undefined;
  }
}

/** The value, with the required fields added that can have only one value. */
export function withFixedValues(given: unknown, value: unknown, root: Schema = given as Schema): unknown {
  const schema = resolve(given as Schema, root);
  if (kindOf(schema) === 'array' && Array.isArray(value)) return value.map((item) => withFixedValues(schema.items, item, root));
  if (kindOf(schema) !== 'object' || !isObject(value)) return value;
  const fields = { ...value };
  for (const [name, part] of fieldsOf(schema, root)) {
    const field = fieldOf(schema, name, part, value);
    if (field !== undefined) fields[name] = withFixedValues(part, field, root);
  }
  return fields;
}

export function join(path: string, part: string | number): string {
  return path ? `${path}.${part}` : String(part);
}

function numberErrors(schema: Schema, value: number, path: string): FieldError[] {
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  if ([schema.type].flat().includes('integer') && !Number.isInteger(value)) return [[path, 'must be a whole number']];
  if (minimum !== undefined && value < minimum) return [[path, `must be at least ${minimum}`]];
  if (maximum !== undefined && value > maximum) return [[path, `must be at most ${maximum}`]];
  if (above !== undefined && value <= above) return [[path, `must be more than ${above}`]];
  if (below !== undefined && value >= below) return [[path, `must be less than ${below}`]];
  return [];
}

function textErrors(schema: Schema, value: unknown, path: string): FieldError[] {
  const text = String(value);
  if (text.length < (schema.minLength ?? 0)) return [[path, `must have at least ${counted(schema.minLength ?? 0, 'character')}`]];
  if (text.length > (schema.maxLength ?? Infinity)) return [[path, `must have at most ${counted(schema.maxLength ?? 0, 'character')}`]];
  try {
    if (schema.pattern && !new RegExp(schema.pattern, 'u').test(text)) return [[path, `must match ${schema.pattern}`]];
  } catch {
    // The browser cannot compile this expression; the server can.
  }
  return [];
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
