import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, test } from 'vitest';
import { ConfigForm } from './ConfigForm';

function drawn(schema: unknown, value: unknown = {}): string {
  return renderToStaticMarkup(createElement(ConfigForm, { schema, value, errors: new Map(), onChange: () => {} }));
}

test('a part that is within itself is written as JSON', () => {
  const node = { type: 'object', properties: { name: { type: 'string' }, left: { $ref: '#/$defs/node' }, right: { $ref: '#/$defs/node' } } };
  const form = drawn({ type: 'object', properties: { tree: { $ref: '#/$defs/node' } }, $defs: { node } });
  expect(form.match(/<fieldset/g)).toHaveLength(1);
  expect(form.match(/placeholder="JSON"/g)).toHaveLength(2);
});
