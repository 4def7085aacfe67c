// A page with one agent chat, by the official client of Socket.IO: node panel_page.mjs URL TOKEN SESSION.
// It joins again, with the last id that it has, whenever it has connected; prints what it is told, as
// lines of JSON; and sends what it reads.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const { io } = createRequire(new URL('../../web/ui/panel/package.json', import.meta.url))('socket.io-client');
const [url, token, session_id] = process.argv.slice(2);
let last;

const tell = (name, data) => console.log(JSON.stringify([name, data]));

const socket = io(url, { auth: { token }, reconnectionDelay: 100, reconnectionDelayMax: 500 });
socket.on('connect', () => {
  const { id, transport } = socket.io.engine;
  if (transport.name === 'websocket') tell('upgraded', transport.name);
  else socket.io.engine.on('upgrade', ({ name }) => tell('upgraded', name));
  socket.emit('join_chat', { session_id, ...(last && { after: last }) }, () => tell('joined', id));
});
for (const name of ['message', 'stream_chunk', 'stream_complete', 'reset']) {
  socket.on(name, (data) => {
    last = data.id ?? last;
    tell(name, data);
  });
}

for await (const message of createInterface({ input: process.stdin })) {
  socket.emit('chat_message', { session_id, message }, (answer) => tell('sent', answer));
}
socket.close();
