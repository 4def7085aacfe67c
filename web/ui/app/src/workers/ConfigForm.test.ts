import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, test } from 'vitest';
import { ConfigForm, emptyOf } from './ConfigForm';
import { resolve } from './schema';

function drawn(schema: unknown, value: unknown = {}): string {
  return renderToStaticMarkup(createElement(ConfigForm, { schema, value, errors: new Map(), onChange: () => {} }));
}

test('null is shown if it is the value, whatever the default', () => {
  const schema = { type: 'object', properties: { tone: { enum: [null, 'kind'], default: 'kind' } } };
  expect(drawn(schema, { tone: null })).toContain('<option value="0" selected="">null</option>');
  expect(drawn(schema)).toContain('<option value="1" selected="">kind</option>');
});

test('a value of another type leaves the fields empty', () => {
  const schema = { type: 'object', properties: { place: { type: 'object', properties: { length: { type: 'number' } } } } };
  expect(drawn(schema, { place: 'Oslo' })).toContain('type="number" inputMode="decimal" step="any" placeholder="" value=""');
});

test('a part that contains itself is edited as JSON', () => {
  const node = { type: 'object', properties: { name: { type: 'string' }, left: { $ref: '#/$defs/node' }, right: { $ref: '#/$defs/node' } } };
  const form = drawn({ type: 'object', properties: { tree: { $ref: '#/$defs/node' } }, $defs: { node } });
  expect(form.match(/<fieldset/g)).toHaveLength(1);
  expect(form.match(/placeholder="JSON"/g)).toHaveLength(2);
});

test('a constant is shown without quotation marks', () => {
  const form = drawn({ type: 'object', properties: { kind: { const: 'tea' }, count: { const: 3 } } });
  expect(form).toContain('readOnly="" value="tea"');
  expect(form).toContain('readOnly="" value="3"');
});

test('a number that was added to a list is not set', () => {
  expect(emptyOf({ type: 'integer', minimum: 1 }, {})).toBeNull();
  expect(emptyOf({ type: 'integer', default: 3 }, {})).toBe(3);
});

const tea = { title: 'Tea', type: 'object', required: ['kind', 'leaf'], properties: { kind: { const: 'tea' }, leaf: { type: 'string' }, cups: { type: 'integer' } } };
const water = { type: 'object', required: ['kind'], properties: { kind: { const: 'water' }, cups: { type: 'integer' }, sparkling: { type: 'boolean' } } };
const drinks = { type: 'object', properties: { drink: { oneOf: [tea, water] } } };

test('one of several objects is a choice, then the fields of the chosen one', () => {
  const none = drawn(drinks);
  expect(none).toContain('<option value="-1" selected="">Not set</option><option value="0">Tea</option><option value="1">Water</option>');
  expect(none).not.toContain('Cups');
  const chosen = drawn(drinks, { drink: { kind: 'water', cups: 2 } });
  expect(chosen).toContain('<option value="1" selected="">Water</option>');
  expect(chosen).toContain('Sparkling');
  expect(chosen).not.toMatch(/Leaf|Kind|JSON/);
});

test('a configuration may be one of several objects as a whole, and so may the items of a list', () => {
  expect(drawn({ oneOf: [tea, water] })).toContain('<option value="1" selected="">Water</option>');
  expect(emptyOf(resolve({ oneOf: [tea, water] }, {}), {})).toEqual({ kind: 'tea' });
});

test('the default of a union is shown', () => {
  const form = drawn({ properties: { drink: { anyOf: [tea, water], default: { kind: 'tea', leaf: 'Assam' } } } });
  expect(form).toContain('<option value="0" selected="">Tea</option>');
  expect(form).toContain('value="Assam"');
});

test.each([
  ['no object', [tea, { type: 'string' }]],
  ['an object of unknown fields', [tea, { type: 'object' }]],
  ['an object that contains itself', [tea, { $ref: '#/$defs/loop' }]],
])('a union with %s is edited as JSON', (_, oneOf) => {
  expect(drawn({ properties: { drink: { oneOf } }, $defs: { loop: { oneOf: [tea, { $ref: '#/$defs/loop' }] } } })).toContain('placeholder="JSON"');
});
