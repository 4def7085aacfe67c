import { expect, test } from 'vitest';
import { checklistOf } from './entries';

test('a checklist has the call, the title and the status of each task', () => {
  const checklist = [{ call_id: 'a', title: 'North', status: 'success' }, { call_id: 'b', title: 'South' }];
  expect(checklistOf({ data: { checklist } })).toEqual([{ callId: 'a', title: 'North', status: 'success' }, { callId: 'b', title: 'South' }]);
  expect(checklistOf({ data: { checklist: [{ call_id: 'a', title: '', status: 'toString' }] } })).toEqual([{ callId: 'a', title: '' }]);
});

test.each([[undefined], [[]], ['- [ ] North'], [[null]], [['North']], [[{ title: 'North' }]], [[{ call_id: 1, title: 'North' }]], [{ 0: {} }]])('%j is no checklist', (checklist) => {
  expect(checklistOf({ data: { checklist } })).toBeNull();
});
