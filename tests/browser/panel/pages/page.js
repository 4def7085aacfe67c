const panel = document.querySelector('agent-chat-panel');
window.told = [];
for (const name of ['session-change', 'chat-error', 'status-change', 'unread-change']) {
  panel.addEventListener(name, ({ detail }) => window.told.push([name, detail]));
}
panel.token = async () => (await fetch('token')).text();
