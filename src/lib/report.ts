/** What a sidecar and the `dapr run` that started it say to each other over Node's IPC channel. */

export interface ReportedSubscription {
  readonly pubsub: string;
  readonly topic: string;
  /** Paths in the order they are tried. */
  readonly routes: readonly string[];
}

/** Sidecar to command, in this order; each but `failed` at most once a start. */
export type Report =
  /** `skipped` counts files and documents that were there and not loaded. */
  | {
      readonly type: 'components';
      readonly loaded: readonly { readonly name: string; readonly type: string; readonly address?: string }[];
      readonly skipped: number;
    }
  /** The ports are bound. 0: that server is off. */
  | { readonly type: 'api'; readonly httpPort: number; readonly grpcPort: number; readonly metricsPort: number }
  /** The app answers on its port. */
  | { readonly type: 'app'; readonly port: number }
  | { readonly type: 'subscribed'; readonly subscriptions: readonly ReportedSubscription[] }
  | { readonly type: 'ready' }
  /** The sidecar ends. `next` says what to do about it. */
  | { readonly type: 'failed'; readonly message: string; readonly next?: string };

/** The app that the command started. `pid` is also the id of its process group. */
export interface AppProcess {
  readonly pid: number;
  readonly command: string;
}

/** Command to sidecar. */
export type Notice = { readonly type: 'app-process' } & AppProcess;

export interface Reporter {
  send(report: Report): void;
  onAppProcess(listener: (app: AppProcess) => void): void;
  /** Called once when the command is gone: the sidecar then ends the app's group and itself. */
  onDisconnect(listener: () => void): void;
}

/** What of `process` the reporter needs. */
export interface Channel {
  readonly connected?: boolean;
  readonly channel?: { unref?(): void } | null | undefined;
  send?(message: unknown, callback?: (error: Error | null) => void): boolean;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  once(event: 'disconnect', listener: () => void): unknown;
}

/** The sidecar's end of the channel. Without a channel nothing is sent and nothing is ever heard. */
export function reporter(channel: Channel): Reporter {
  if (channel.send === undefined) return { send() {}, onAppProcess() {}, onDisconnect() {} };
  return {
    send(report) {
      if (channel.connected) channel.send?.(report, () => undefined);
    },
    onAppProcess(listener) {
      channel.on('message', (message) => {
        const notice = message as Partial<Notice> | null;
        if (notice?.type === 'app-process' && typeof notice.pid === 'number') listener(notice as Notice);
      });
      channel.channel?.unref?.(); // listening must not be what keeps the sidecar alive
    },
    onDisconnect(listener) {
      if (channel.connected) channel.once('disconnect', listener);
      else setImmediate(listener); // it went away while we were starting
    },
  };
}
