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
  if (value === undefined) return [];
  switch (kindOf(schema)) {
    case 'number':
      return typeof value === 'number' ? numberWrong(schema, value, path) : [[path, 'must be a number']];
    case 'text':
      return textWrong(schema, value, path);
    case 'array': {
      const items = value as unknown[];
      const few = items.length < (schema.minItems ?? 0) ? [[path, `needs at least ${schema.minItems}`] as const] : [];
      const many = items.length > (schema.maxItems ?? Infinity) ? [[path, `takes at most ${schema.maxItems}`] as const] : [];
      return [...few, ...many, ...items.flatMap((item, index) => check(schema.items, item, join(path, index), root))];
    }
    case 'object': {
      const fields = value as Record<string, unknown>;
      const missing = (schema.required ?? []).filter((name) => fields[name] === undefined && !fills(schema.properties?.[name], root));
      return [
        ...missing.map((name) => [join(path, name), 'is needed'] as const),
        ...fieldsOf(schema, root).flatMap(([name, part]) => check(part, fields[name], join(path, name), root)),
      ];
    }
    default:
      return [];
  }
}

/** Whether a field that is left out is filled in all the same: by its default, or by the only value it may have. */
function fills(part: Schema | undefined, root: Schema): boolean {
  const schema = resolve(part ?? {}, root);
  return schema.default !== undefined || 'const' in schema;
}

/** The value with what must be there and can be one thing only. */
export function completed(given: unknown, value: unknown, root: Schema = given as Schema): unknown {
  const schema = resolve(given as Schema, root);
  if (kindOf(schema) === 'array' && Array.isArray(value)) return value.map((item) => completed(schema.items, item, root));
  if (kindOf(schema) !== 'object' || value === undefined || value === null) return value;
  const fields = { ...(value as Record<string, unknown>) };
  for (const [name, part] of fieldsOf(schema, root)) {
    if (fields[name] !== undefined) fields[name] = completed(part, fields[name], root);
    else if (schema.required?.includes(name) && 'const' in part) fields[name] = part.const;
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
