import { createServer, type Server } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { listenOn } from '../../../src/lib/listen.ts';

const LOOPBACK = ['127.0.0.1', '::1'];

/** Binds real sockets; everything is closed with the test. */
function binder(t: ExecutionContext) {
  const open = new Map<string, Server>();
  t.teardown(() => open.forEach((server) => server.close()));
  return {
    open,
    bind: (host: string, port: number): Promise<number> =>
      new Promise((resolve, reject) => {
        const server = createServer();
        server.once('error', reject).listen({ host, port }, () => {
          const bound = (server.address() as { port: number }).port;
          open.set(`${host} ${bound}`, server);
          resolve(bound);
        });
      }),
    release: async (host: string, port: number): Promise<void> => {
      open.get(`${host} ${port}`)?.close();
      open.delete(`${host} ${port}`);
    },
  };
}

test('every address gets the same port', async (t) => {
  const { open, bind, release } = binder(t);
  const port = await listenOn(LOOPBACK, { port: 0, search: false }, bind, release);
  t.deepEqual(
    [...open.keys()],
    LOOPBACK.map((host) => `${host} ${port}`),
  );
});

test('a port that is taken on one address is refused, and nothing stays bound', async (t) => {
  const other = binder(t);
  const taken = await other.bind('::1', 0);
  const { open, bind, release } = binder(t);
  await t.throwsAsync(listenOn(LOOPBACK, { port: taken, search: false }, bind, release), { message: /EADDRINUSE/ });
  t.is(open.size, 0);
});

test('a search goes past ports that are taken, and past the one that is somebody else’s', async (t) => {
  const other = binder(t);
  const taken = await other.bind('127.0.0.1', 0);
  const { open, bind, release } = binder(t);
  const port = await listenOn(LOOPBACK, { port: taken, search: true, except: taken + 1 }, bind, release);
  t.true(port > taken + 1);
  t.is(open.size, 2);
});

test('an address that this machine does not have is passed over', async (t) => {
  const { open, bind, release } = binder(t);
  await listenOn(['192.0.2.1', '127.0.0.1'], { port: 0, search: false }, bind, release);
  t.is(open.size, 1);
  await t.throwsAsync(listenOn(['192.0.2.1'], { port: 0, search: false }, bind, release));
});
