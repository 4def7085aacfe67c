/** The panel in an application made with Vue. */
import '@branchline/panel';
import { createApp, defineComponent, h, ref } from 'vue';

const App = defineComponent(() => {
  const status = ref('offline');
  return () => [
    h('h1', 'Vue'),
    h('p', `The chat is ${status.value}.`),
    h('agent-chat-panel', {
      mode: 'inline',
      heading: 'Ask our documents',
      '.context': { match_count: 5 },
      onStatusChange: ({ detail }: CustomEvent<{ status: string }>) => (status.value = detail.status),
    }),
  ];
});

createApp(App).mount('#app');
