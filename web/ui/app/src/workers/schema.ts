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
  examples?: unknown[];
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
  /** The objects that this can be, where it is one of several; each has what they all share. */
  branches?: Schema[];
  /** The names of the definitions that were resolved on the way to this schema. */
  within?: readonly string[];
}

export type Kind = 'choice' | 'fixed' | 'number' | 'boolean' | 'text' | 'object' | 'union' | 'array' | 'other';

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
  else if (real?.length) {
    const branches = branchesOf(merged, real, root);
    if (branches) merged = { ...merged, branches };
  }
  return merged;
}

/** The objects of a union, each with what the schema around it has. Undefined where one of them is no object with known fields. */
function branchesOf(around: Schema, parts: Schema[], root: Schema): Schema[] | undefined {
  const branches = parts.map((part) => resolve(part, root, around.within));
  if (!branches.every((branch) => kindOf(branch) === 'object')) return undefined;
  // What has been merged already would bring the union back; its title and default are not those of each branch.
  const { anyOf: _any, oneOf: _one, allOf: _all, branches: _branches, title: _title, description: _about, default: _default, ...shared } = around;
  return branches.map(({ allOf: _, ...branch }) => ({
    ...shared,
    ...branch,
    required: [...(shared.required ?? []), ...(branch.required ?? [])],
    properties: merge(shared.properties ?? {}, branch.properties ?? {}),
  }));
}

function merge(outer: Record<string, Schema>, inner: Record<string, Schema>): Record<string, Schema> {
  const both = Object.entries(inner).map(([name, part]) => [name, { ...outer[name], ...part }]);
  return { ...outer, ...(Object.fromEntries(both) as Record<string, Schema>) };
}

/** The fields of a resolved object, each resolved as well. */
export function fieldsOf(schema: Schema, root: Schema): [name: string, part: Schema][] {
  return Object.entries(schema.properties ?? {}).map(([name, part]) => [name, resolve(part, root, schema.within)]);
}

export function kindOf(schema: Schema): Kind {
  if ('const' in schema) return 'fixed';
  if (schema.enum) return 'choice';
  if (schema.branches) return 'union';
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

/** What a field is called. */
export function titleOf(name: string, schema: Schema): string {
  return schema.title ?? name.replace(/_/g, ' ').replace(/^./, (char) => char.toUpperCase());
}

/** The fields that have a fixed value in each branch of a union, which says which branch it is. */
export function discriminators(branches: Schema[], root: Schema): string[] {
  const fixed = branches.map((branch) => fieldsOf(branch, root).flatMap(([name, part]) => ('const' in part ? [name] : [])));
  return (fixed[0] ?? []).filter((name) => fixed.every((names) => names.includes(name)));
}

/** What a branch of a union is called: its title, its fixed value, or its fields. */
export function branchName(branch: Schema, branches: Schema[], root: Schema): string {
  if (branch.title) return branch.title;
  const fields = fieldsOf(branch, root);
  const fixed = discriminators(branches, root);
  if (fixed.length) return fields.flatMap(([name, part]) => (fixed.includes(name) ? [titleOf(String(part.const), {})] : [])).join(', ');
  return fields.map(([name, part]) => titleOf(name, part)).join(', ');
}

/** The branches of a union that a value can be of: no fixed value differs, and as few fields as possible are unknown. */
function candidates(branches: Schema[], value: unknown, root: Schema): Schema[] {
  if (!isObject(value)) return [];
  const fitting = branches.filter((branch) =>
    fieldsOf(branch, root).every(([name, part]) => !('const' in part) || value[name] === undefined || isSame(value[name], part.const)),
  );
  return fewest(fitting, (branch) => Object.keys(value).filter((name) => !branch.properties?.[name]).length);
}

/** The branch that a value is of; `preferred`, if it can be of several. Undefined if it is of none. */
export function branchOf(branches: Schema[], value: unknown, root: Schema, preferred?: Schema): Schema | undefined {
  const possible = candidates(branches, value, root);
  if (preferred && possible.includes(preferred)) return preferred;
  return fewest(possible, (branch) => branch.required?.filter((name) => !isObject(value) || value[name] === undefined).length ?? 0)[0];
}

function fewest<T>(items: T[], count: (item: T) => number): T[] {
  const least = Math.min(...items.map(count));
  return items.filter((item) => count(item) === least);
}

/** The value as one of another branch: with the fixed values of that, and what both branches have. */
export function inBranch(branch: Schema, value: unknown, root: Schema, before?: Schema): Record<string, unknown> {
  const old = new Map(before ? fieldsOf(before, root) : []);
  const fields = fieldsOf(branch, root).map(([name, part]) => {
    if ('const' in part) return [name, part.const];
    const same = old.get(name);
    const given = isObject(value) ? value[name] : undefined;
    const kept = same && kindOf(same) === kindOf(part) && (part.enum?.some((option) => isSame(option, given)) ?? true);
    return [name, kept ? given : undefined];
  });
  return Object.fromEntries(fields.filter(([, field]) => field !== undefined)) as Record<string, unknown>;
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** What differs from the defaults in a configuration, in a few words each: `Piece: character`. */
export function differences(given: unknown, config: Record<string, unknown>): string[] {
  const root = given as Schema;
  return fieldsOf(resolve(root, root), root).flatMap(([name, part]) => {
    const value = config[name];
    const isDefault = JSON.stringify(value) === JSON.stringify(part.default ?? (kindOf(part) === 'boolean' ? false : undefined));
    if (value === undefined || isDefault || kindOf(part) === 'fixed') return [];
    const branch = part.branches && branchOf(part.branches, value, root);
    return [`${titleOf(name, part)}: ${branch ? branchName(branch, part.branches ?? [], root) : inWords(value, part)}`];
  });
}

/** Characters of a value that are shown in a line. */
const SHOWN = 24;

function inWords(value: unknown, schema: Schema): string {
  if (schema.format === 'password') return 'set';
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (Array.isArray(value)) return counted(value.length, 'item');
  if (isObject(value)) return 'set';
  const name = schema.names?.[schema.enum?.indexOf(value) ?? -1];
  const text = (name ?? String(value)).replace(/\s+/g, ' ');
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
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
  if (value === undefined || (value === null && ['array', 'object', 'union'].includes(kind))) return [];
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
    case 'union': {
      // It may be of several: then the errors are told of those fields that are shown.
      const errors = candidates(schema.branches ?? [], value, root).map((branch) => check(branch, value, path, root));
      if (!errors.length) return [[path, 'must be one of the choices']];
      return errors.some((of) => !of.length) ? [] : errors.flat();
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
  if (kindOf(schema) === 'union') {
    const branch = branchOf(schema.branches ?? [], value, root);
    return branch ? withFixedValues(branch, value, root) : value;
  }
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
  if (schema.multipleOf && !isMultiple(value, schema.multipleOf)) return [[path, `must be a multiple of ${schema.multipleOf}`]];
  return [];
}

/** Whether a number is a multiple of another one, both as they are written: 4.35 is one of 0.01. */
export function isMultiple(value: number, unit: number): boolean {
  const [digits, power] = decimalOf(value);
  const [ofUnit, unitPower] = decimalOf(unit);
  const least = Math.min(power, unitPower);
  return (digits * 10n ** BigInt(power - least)) % (ofUnit * 10n ** BigInt(unitPower - least)) === 0n;
}

/** The digits of a number, and the power of ten that they are multiplied by. */
function decimalOf(value: number): [digits: bigint, power: number] {
  const [digits = '', power = ''] = value.toExponential().split('e');
  return [BigInt(digits.replace('.', '')), Number(power) - (digits.split('.')[1]?.length ?? 0)];
}

function textErrors(schema: Schema, value: unknown, path: string): FieldError[] {
  const text = String(value);
  if (text.length < (schema.minLength ?? 0)) return [[path, `must have at least ${counted(schema.minLength ?? 0, 'character')}`]];
  if (text.length > (schema.maxLength ?? Infinity)) return [[path, `must have at most ${counted(schema.maxLength ?? 0, 'character')}`]];
  try {
    if (schema.pattern && !new RegExp(schema.pattern, 'u').test(text)) return [[path, patternMessage(schema)]];
  } catch {
    // The browser cannot compile this expression; the server can.
  }
  return [];
}

/** What a text must look like: an expression is no sentence, so an example stands for it if the schema has one. */
function patternMessage({ examples }: Schema): string {
  const example = examples?.find((one) => typeof one === 'string');
  return example === undefined ? 'does not have the expected form' : `must look like this: ${example}`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
