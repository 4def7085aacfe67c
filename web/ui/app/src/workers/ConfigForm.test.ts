import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, test } from 'vitest';
import { ConfigForm } from './ConfigForm';

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
