/** The rest of the HTTP API, in Koa: metadata, what is parked, shutdown, and the answer to whatever is not there. */

import type { RequestListener } from 'node:http';
import Koa from 'koa';
import { SidecarError } from '../core/errors.ts';
import { keepUntilRead, unreadable, withBody } from './body.ts';
import { bodyOf } from './error-body.ts';
import type { GatewayOptions } from './gateway.ts';
import { metadataBody } from './metadata-body.ts';
import { routeOf, splitTarget, type Route } from './path.ts';
import { contextOf } from './request-context.ts';
import { permitted } from './route-names.ts';

/** Koa's handler for all that is neither publishing nor health. */
export function createAdmin(options: GatewayOptions): RequestListener {
  const koa = new Koa();
  koa.silent = true;
  koa.use(async (ctx) => {
    const { path } = splitTarget(ctx.req.url ?? '/');
    try {
      const route = permitted(options.access, routeOf(ctx.method, path), path);
      await serve(options, route, ctx);
    } catch (thrown) {
      const error = SidecarError.from(thrown);
      options.onError?.(error);
      ctx.status = error.row.http;
      ctx.set('content-type', 'application/json');
      ctx.body = Buffer.from(bodyOf(error));
    }
  });
  return koa.callback();
}

async function serve(options: GatewayOptions, route: Route, ctx: Koa.Context): Promise<void> {
  const { api } = options;
  const context = contextOf(ctx.req);
  switch (route.kind) {
    case 'metadata': {
      const body = Buffer.from(metadataBody(await api.getMetadata({})));
      keepUntilRead(ctx.res, body.length, options.budget);
      ctx.set('content-type', 'application/json');
      ctx.body = body;
      return;
    }
    case 'set-metadata':
      await api.setMetadata({ key: route.key, value: await withBody(ctx.req, options, unreadable, String) });
      ctx.status = 204;
      return;
    case 'parked':
      ctx.body = { parked: await options.parked.list() };
      return;
    case 'deliver-parked':
      ctx.body = { delivered: await options.parked.deliver(route.pubsubName, route.topic) };
      return;
    case 'shutdown':
      await api.shutdown({}, context);
      ctx.status = 204;
      return;
    default:
      throw new SidecarError(
        'no-such-route',
        'failed getting app id either from the URL path or the header dapr-app-id',
      );
  }
}
