/** The part of JSON Schema that forms are made of, and a check before the server's own. */

export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  /** What the values of `enum` are called, where they have names. */
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
  /** Where it was resolved: the names that led to it. */
  within?: readonly string[];
}

export type Kind = 'choice' | 'fixed' | 'number' | 'boolean' | 'text' | 'object' | 'array' | 'other';

/** The schema with what it refers to put in its place, unless that is what it is itself a part of: that has no end. */
export function resolve(schema: Schema, root: Schema, within: readonly string[] = schema.within ?? []): Schema {
  const name = schema.$ref?.match(/^#\/(?:\$defs|definitions)\/(.+)$/)?.[1] ?? '';
  const target = within.includes(name) ? undefined : (root.$defs ?? (root as { definitions?: Record<string, Schema> }).definitions)?.[name];
  const { $ref: _, ...own } = schema;
  let whole: Schema = target ? { ...resolve(target, root, [...within, name]), ...own } : { ...own, within };
  for (const part of whole.allOf ?? []) {
    const more = resolve(part, root, whole.within);
    whole = { ...more, ...whole, within: more.within, properties: { ...more.properties, ...whole.properties } };
  }
  // "This or nothing" is this, left empty.
  const real = (whole.anyOf ?? whole.oneOf)?.filter((one) => one.type !== 'null');
  if (real?.length === 1 && real[0]) {
    const only = resolve(real[0], root, whole.within);
    whole = { ...only, ...whole, within: only.within, anyOf: undefined as never, oneOf: undefined as never };
  } else if (real?.length && real.every((one) => 'const' in one)) whole = { ...whole, enum: real.map((one) => one.const), names: real.map((one) => one.title) };
  return whole;
}

/** The fields of an object that is resolved, resolved as well. */
export function fieldsOf(schema: Schema, root: Schema): [name: string, part: Schema][] {
  return Object.entries(schema.properties ?? {}).map(([name, part]) => [name, resolve(part, root, schema.within)]);
}

export function kindOf(schema: Schema): Kind {
  if ('const' in schema) return 'fixed';
  if (schema.enum) return 'choice';
  const types = [schema.type ?? []].flat().filter((type) => type !== 'null');
  const type = types[0] ?? (schema.properties ? 'object' : schema.items ? 'array' : undefined);
  if (types.length > 1 && !types.every((one) => one === 'integer' || one === 'number')) return 'other';
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

type Wrong = readonly [path: string, message: string];

/** What is plainly wrong with a value. The server checks all the rest. */
export function check(given: unknown, value: unknown, path = '', root: Schema = given as Schema): Wrong[] {
  const schema = resolve(given as Schema, root);
  const kind = kindOf(schema);
  // Whether there may be nothing, the server knows.
  if (value === undefined || (value === null && (kind === 'array' || kind === 'object'))) return [];
  switch (kind) {
    case 'number':
      return typeof value === 'number' ? numberWrong(schema, value, path) : [[path, 'must be a number']];
    case 'text':
      return textWrong(schema, value, path);
    case 'array': {
      if (!Array.isArray(value)) return [[path, 'must be a list']];
      const items: unknown[] = value;
      const few = items.length < (schema.minItems ?? 0) ? [[path, `needs at least ${schema.minItems}`] as const] : [];
      const many = items.length > (schema.maxItems ?? Infinity) ? [[path, `takes at most ${schema.maxItems}`] as const] : [];
      return [...few, ...many, ...items.flatMap((item, index) => check(schema.items, item, join(path, index), root))];
    }
    case 'object': {
      if (!isObject(value)) return [[path, 'must be an object']];
      return fieldsOf(schema, root).flatMap(([name, part]): Wrong[] => {
        const field = fieldOf(schema, name, part, value);
        const missing = field === undefined && part.default === undefined && schema.required?.includes(name);
        return missing ? [[join(path, name), 'is needed']] : check(part, field, join(path, name), root);
      });
    }
    default:
      return [];
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What an object has in a field; where it must be there and was left out, the only value it may have then. */
function fieldOf(schema: Schema, name: string, part: Schema, value: Record<string, unknown>): unknown {
  return value[name] === undefined && schema.required?.includes(name) ? onlyValue(part) : value[name];
}

/** What is meant where nothing was said, if no default says it. */
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

/** The value with what must be there and can be one thing only. */
export function completed(given: unknown, value: unknown, root: Schema = given as Schema): unknown {
  const schema = resolve(given as Schema, root);
  if (kindOf(schema) === 'array' && Array.isArray(value)) return value.map((item) => completed(schema.items, item, root));
  if (kindOf(schema) !== 'object' || !isObject(value)) return value;
  const fields = { ...value };
  for (const [name, part] of fieldsOf(schema, root)) {
    const field = fieldOf(schema, name, part, value);
    if (field !== undefined) fields[name] = completed(part, field, root);
  }
  return fields;
}

export function join(path: string, part: string | number): string {
  return path ? `${path}.${part}` : String(part);
}

function numberWrong(schema: Schema, value: number, path: string): Wrong[] {
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  if ([schema.type].flat().includes('integer') && !Number.isInteger(value)) return [[path, 'must be a whole number']];
  if (minimum !== undefined && value < minimum) return [[path, `must be at least ${minimum}`]];
  if (maximum !== undefined && value > maximum) return [[path, `must be at most ${maximum}`]];
  if (above !== undefined && value <= above) return [[path, `must be more than ${above}`]];
  if (below !== undefined && value >= below) return [[path, `must be less than ${below}`]];
  return [];
}

function textWrong(schema: Schema, value: unknown, path: string): Wrong[] {
  const text = String(value);
  if (text.length < (schema.minLength ?? 0)) return [[path, `needs at least ${schema.minLength} characters`]];
  if (text.length > (schema.maxLength ?? Infinity)) return [[path, `takes at most ${schema.maxLength} characters`]];
  try {
    if (schema.pattern && !new RegExp(schema.pattern, 'u').test(text)) return [[path, `does not look right (it must match ${schema.pattern})`]];
  } catch {
    // The server knows this kind of expression.
  }
  return [];
}
