import { expect, test } from 'vitest';
import { branchName, branchOf, check, differences, fieldsOf, inBranch, kindOf, resolve, type Schema, withFixedValues } from './schema';

test('a reference is resolved', () => {
  const root = { $defs: { tone: { enum: ['kind', 'terse'] } }, properties: { tone: { $ref: '#/$defs/tone', title: 'Tone' } } };
  const tone = resolve(root.properties.tone, root);
  expect([kindOf(tone), tone.title]).toEqual(['choice', 'Tone']);
});

test('a type or null is that type', () => {
  expect(kindOf(resolve({ anyOf: [{ type: 'integer' }, { type: 'null' }] }, {}))).toBe('number');
  expect(kindOf({ type: ['string', 'null'] })).toBe('text');
});

test('a reference to itself is resolved once', () => {
  const root = {
    $defs: {
      loop: { $ref: '#/$defs/loop' },
      all: { allOf: [{ $ref: '#/$defs/all' }], type: 'string' },
      node: { type: 'object', properties: { next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] }, nodes: { type: 'array', items: { $ref: '#/$defs/node' } } } },
    },
  };
  const [loop, all, node] = ['loop', 'all', 'node'].map((name) => resolve({ $ref: `#/$defs/${name}` }, root));
  expect([loop, all, node].map((one) => kindOf(one as Schema))).toEqual(['other', 'text', 'object']);
  expect(fieldsOf(node as Schema, root).map(([name, part]) => [name, kindOf(part)])).toEqual([['next', 'other'], ['nodes', 'array']]);
});

test('one of several constants is a choice', () => {
  expect(resolve({ oneOf: [{ const: 1 }, { const: 2 }] }, {}).enum).toEqual([1, 2]);
});

test('an error is reported at its path', () => {
  const schema = {
    type: 'object',
    required: ['name'],
    properties: {
      name: { type: 'string', minLength: 2 },
      deep: { type: 'object', properties: { heat: { type: 'number', minimum: 0, maximum: 2 } } },
      list: { type: 'array', items: { type: 'integer' }, maxItems: 2 },
    },
  };
  expect(check(schema, { name: 'Ada', deep: { heat: 1 }, list: [1] })).toEqual([]);
  expect(check(schema, { deep: { heat: 3 }, list: [1, 1.5, 2] }).map(([path]) => path)).toEqual(['name', 'deep.heat', 'list', 'list.1']);
});

test('a decimal is a multiple as it is written', () => {
  const price = { type: 'number', multipleOf: 0.01 };
  for (const value of [4.35, 0.07, 1.1, -0.29, 100, 1e22, 0]) expect(check(price, value)).toEqual([]);
  expect(check(price, 4.355)).toEqual([['', 'must be a multiple of 0.01']]);
  expect(check({ type: 'integer', multipleOf: 5 }, 7)).toEqual([['', 'must be a multiple of 5']]);
});

test('a field with a default is not required', () => {
  const schema = {
    type: 'object',
    required: ['kind', 'heat', 'name'],
    properties: { kind: { const: 'tea' }, heat: { type: 'number', default: 1 }, name: { type: 'string' } },
  };
  expect(check(schema, {}).map(([path]) => path)).toEqual(['name']);
  expect(withFixedValues(schema, { name: 'Ada' })).toEqual({ kind: 'tea', name: 'Ada' });
  expect(withFixedValues({ type: 'array', items: schema }, [{}])).toEqual([{ kind: 'tea' }]);
});

test('a required field that was not touched has the value that it shows', () => {
  const tea = { type: 'object', required: ['kind'], properties: { kind: { const: 'tea' } } };
  const schema = {
    type: 'object',
    required: ['drink', 'loud', 'place'],
    properties: { drink: tea, loud: { type: 'boolean' }, place: { type: 'object', required: ['city'], properties: { city: { type: 'string' } } }, other: tea },
  };
  expect(check(schema, {})).toEqual([['place.city', 'is required']]);
  expect(withFixedValues(schema, { place: { city: 'Oslo' } })).toEqual({ drink: { kind: 'tea' }, loud: false, place: { city: 'Oslo' } });
});

test('a definition that requires itself is required once', () => {
  const node = { type: 'object', required: ['next'], properties: { next: { $ref: '#/$defs/node' } } };
  const root = { $ref: '#/$defs/node', $defs: { node } };
  expect(check(root, {})).toEqual([['next', 'is required']]);
  expect(withFixedValues(root, {})).toEqual({});
});

test('a value that is no list or no object is an error', () => {
  const schema = {
    type: 'object',
    properties: { tags: { type: 'array', items: { type: 'string' } }, place: { type: 'object', properties: { city: { type: 'string' } } } },
  };
  expect(check(schema, { tags: 'a', place: ['Oslo'] })).toEqual([['tags', 'must be a list'], ['place', 'must be an object']]);
  expect(check(schema, { tags: null, place: null })).toEqual([]);
  expect(withFixedValues(schema, { tags: 'a', place: 'Oslo' })).toEqual({ tags: 'a', place: 'Oslo' });
});

test('constants may have names', () => {
  expect(resolve({ oneOf: [{ const: 1, title: 'One' }, { const: 2 }] }, {}).names).toEqual(['One', undefined]);
});

test('what differs from the defaults is said in a line', () => {
  const schema = {
    properties: {
      kind: { const: 'tea' },
      heat: { type: 'number', default: 1, title: 'Heat' },
      size: { oneOf: [{ const: 1, title: 'Small' }, { const: 2, title: 'Large' }] },
      loud: { type: 'boolean' },
      key: { type: 'string', format: 'password' },
      system_prompt: { type: 'string' },
      tags: { type: 'array', items: { type: 'string' } },
    },
  };
  expect(differences(schema, { kind: 'tea', heat: 1, loud: false })).toEqual([]);
  const config = { heat: 2, size: 2, loud: true, key: 'secret', system_prompt: 'You are a pirate\nwho speaks like one.', tags: ['a'] };
  expect(differences(schema, config)).toEqual(['Heat: 2', 'Size: Large', 'Loud: on', 'Key: set', 'System prompt: You are a pirate who spe…', 'Tags: 1 item']);
});

test('an error of a pattern is readable', () => {
  const url = { type: 'string', pattern: '^https?://[^\\s]+$' };
  expect(check(url, 'no')).toEqual([['', 'does not have the expected form']]);
  expect(check({ ...url, examples: ['https://example.org'] }, 'no')).toEqual([['', 'must look like this: https://example.org']]);
});

const tea = { type: 'object', required: ['kind', 'leaf'], properties: { kind: { const: 'tea' }, leaf: { type: 'string' }, cups: { type: 'integer', minimum: 1 } } };
const water = { type: 'object', required: ['kind'], properties: { kind: { const: 'water' }, cups: { type: 'integer', minimum: 1 }, size: { enum: [1, 2] } } };
const city = { type: 'object', required: ['city'], properties: { city: { type: 'string' }, zoom: { type: 'number' } } };
const spot = { type: 'object', required: ['x', 'y'], properties: { x: { type: 'number' }, y: { type: 'number', title: 'Latitude' }, zoom: { type: 'string' } } };

function branches(schema: Schema): [Schema, Schema] {
  return resolve(schema, schema).branches as [Schema, Schema];
}

test('the branch of a union is found by its fixed value, or by its fields', () => {
  const drinks = branches({ anyOf: [tea, water, { type: 'null' }] });
  expect(branchOf(drinks, { kind: 'water', leaf: 'x' }, {})).toBe(drinks[1]);
  expect(branchOf(drinks, { kind: 'wine' }, {})).toBeUndefined();
  expect(branchOf(drinks, undefined, {})).toBeUndefined();
  const places = branches({ oneOf: [city, spot] });
  expect(branchOf(places, { y: 1 }, {})).toBe(places[1]);
  expect(branchOf(places, {}, {})).toBe(places[0]);
  expect(branchOf(places, {}, {}, places[1])).toBe(places[1]);
  expect(branchOf(places, { city: 'Oslo' }, {}, places[1])).toBe(places[0]);
});

test('a branch is called by its title, its fixed value or its fields', () => {
  const names = (schema: Schema) => branches(schema).map((branch, _, all) => branchName(branch, all, {}));
  expect(names({ oneOf: [{ ...tea, title: 'A tea' }, water] })).toEqual(['A tea', 'Water']);
  expect(names({ title: 'Place', oneOf: [city, spot] })).toEqual(['City, Zoom', 'X, Latitude, Zoom']);
});

test('what two branches share is kept when another one is chosen', () => {
  const [first, second] = branches({ oneOf: [tea, water] });
  const changed = inBranch(second, { kind: 'tea', leaf: 'Assam', cups: 2 }, {}, first);
  expect(changed).toEqual({ kind: 'water', cups: 2 });
  expect(inBranch(first, { ...changed, size: 1 }, {}, second)).toEqual({ kind: 'tea', cups: 2 });
  expect(inBranch(first, undefined, {})).toEqual({ kind: 'tea' });
  const [one, other] = branches({ oneOf: [city, spot] });
  expect(inBranch(other, { city: 'Oslo', zoom: 3 }, {}, one)).toEqual({});
});

test('a branch has what the schema around a union has, also where that is in parts', () => {
  const root: Schema = {
    $defs: { drink: { allOf: [{ oneOf: [{ $ref: '#/$defs/tea' }, water] }], required: ['name'], properties: { name: { type: 'string' }, kind: { type: 'string', title: 'Which' } } }, tea },
    properties: { drink: { $ref: '#/$defs/drink' } },
  };
  const drink = resolve(root.properties?.drink ?? {}, root);
  const [first] = drink.branches ?? [];
  expect(fieldsOf(first ?? {}, root).map(([name]) => name).sort()).toEqual(['cups', 'kind', 'leaf', 'name']);
  expect(check(root, { drink: { kind: 'tea', cups: 0 } }).map(([path]) => path).sort()).toEqual(['drink.cups', 'drink.leaf', 'drink.name']);
  expect(kindOf(resolve({ ...city, anyOf: [{ required: ['city'] }, { required: ['zoom'] }] }, {}))).toBe('object');
});

test('a union is checked as the branch that it is, or as all that it can be', () => {
  const schema = { required: ['drink'], properties: { drink: { oneOf: [tea, water] }, place: { oneOf: [city, spot] } } };
  expect(check(schema, {})).toEqual([['drink', 'is required']]);
  expect(check(schema, { drink: { kind: 'wine' } })).toEqual([['drink', 'must be one of the choices']]);
  expect(check(schema, { drink: { kind: 'water' }, place: {} }).map(([path]) => path)).toEqual(['place.city', 'place.x', 'place.y']);
  expect(check(schema, { drink: { kind: 'water' }, place: { x: 1, y: 2 } })).toEqual([]);
  expect(withFixedValues({ oneOf: [tea, water] }, { size: 1 })).toEqual({ kind: 'water', size: 1 });
});

test('what differs in a union is the branch that was chosen', () => {
  expect(differences({ properties: { drink: { oneOf: [tea, water] } } }, { drink: { kind: 'water' } })).toEqual(['Drink: Water']);
});
