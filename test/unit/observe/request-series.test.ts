import test from 'ava';
import { LATENCY_BUCKETS_MS } from '../../../src/observe/metrics.ts';
import { RequestSeries } from '../../../src/observe/request-series.ts';

test('paths without end do not make series without end, and none is lost', (t) => {
  const options = { increasedCardinality: true, pathMatching: [], excludeVerbs: false, recordErrorCodes: false };
  const series = new RequestSeries({ appId: 'app', ...options, latencyBuckets: LATENCY_BUCKETS_MS });
  const request = { method: 'GET', status: 200, ms: 1, received: 0, size: 0 };
  for (let i = 0; i < 3000; i++) series.onHttp({ ...request, path: `/${i}` });
  const lines = series.render().split('\n');
  const counts = lines.filter((line) => line.startsWith('dapr_http_server_request_count{'));
  t.true(counts.length < 600);
  t.is(
    counts.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0),
    3000,
  );
  const rest = counts.find((line) => line.includes('path="_other"'));
  t.regex(rest ?? '', /\} 2\d{3}$/);
});

test('what a path says cannot break out of its label', (t) => {
  const options = { increasedCardinality: true, pathMatching: [], excludeVerbs: false, recordErrorCodes: false };
  const series = new RequestSeries({ appId: 'app', ...options, latencyBuckets: [1] });
  series.onHttp({ method: 'GET', path: '/"\\\n', status: 200, ms: 1, received: 0, size: 0 });
  t.true(series.render().includes('path="/\\"\\\\\\n",status="200"} 1'));
});
