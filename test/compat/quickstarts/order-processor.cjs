// The subscriber of a quickstart without an SDK: Express, a route without a slash, any answer at all.
const express = require('express');

const app = express();
app.use(express.json({ type: 'application/*+json' }));
app.get('/dapr/subscribe', (_request, response) => {
  response.json([{ pubsubname: 'orderpubsub', topic: 'orders', route: 'orders' }]);
});
app.post('/orders', (request, response) => {
  console.log(JSON.stringify({ handler: 'orders', data: request.body.data }));
  response.sendStatus(200);
});
app.listen(process.env.APP_PORT);
