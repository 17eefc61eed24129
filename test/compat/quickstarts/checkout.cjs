// The publisher of a quickstart without an SDK: Axios against its own sidecar.
const axios = require('axios');

async function main() {
  const { DAPR_HOST = 'http://localhost', DAPR_HTTP_PORT } = process.env;
  for (let orderId = 1; orderId <= 10; orderId++) {
    const { status } = await axios.post(`${DAPR_HOST}:${DAPR_HTTP_PORT}/v1.0/publish/orderpubsub/orders`, { orderId });
    console.log(JSON.stringify({ what: orderId, status }));
  }
}

main();
