// The smallest app that takes events: it says what it subscribes to, and answers 200 to what it has handled.
// Any Node from 18 up, no packages.

import { createServer } from 'node:http';

const subscriptions = [{ pubsubname: 'pubsub', topic: 'deathStarStatus', route: '/dsstatus' }];

async function read(request) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  return text;
}

const server = createServer(async (request, response) => {
  switch (`${request.method} ${request.url}`) {
    case 'GET /dapr/subscribe':
      response.setHeader('content-type', 'application/json').end(JSON.stringify(subscriptions));
      break;
    case 'POST /dsstatus': {
      const event = JSON.parse(await read(request));
      console.log(`hello received ${JSON.stringify(event.data)} (event ${event.id})`);
      response.end();
      break;
    }
    default:
      response.writeHead(404).end();
  }
});
server.listen(Number(process.env.APP_PORT ?? 6000), '127.0.0.1');
