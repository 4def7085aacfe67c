import { expect, test } from 'vitest';
import { check, fieldsOf, kindOf, resolve, type Schema, withFixedValues } from './schema';

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
