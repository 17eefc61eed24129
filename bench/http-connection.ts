import { connect, type Socket } from 'node:net';

interface Pending {
  resolve(status: number): void;
  reject(error: Error): void;
}

/**
 * One keep-alive connection that posts, one request at a time. As lean as it can be, so that the load leaves the
 * processor to the server: no headers but the needed ones, no look at the answer beyond status and length.
 */
export class HttpConnection {
  private readonly socket: Socket;
  private readonly host: string;
  private received = '';
  private pending: Pending | undefined;

  constructor(port: number) {
    this.host = `127.0.0.1:${port}`;
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.setEncoding('latin1');
    this.socket.on('data', (chunk: string) => this.read(chunk));
    this.socket.on('error', (error) => this.fail(error));
    this.socket.on('close', () => this.fail(new Error('connection closed')));
  }

  /** Posts ASCII text as JSON. Resolves with the status when the whole answer is there. */
  post(path: string, body: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.pending = { resolve, reject };
      this.socket.write(
        `POST ${path} HTTP/1.1\r\nHost: ${this.host}\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${body.length}\r\n\r\n${body}`,
        'latin1',
      );
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private read(chunk: string): void {
    this.received += chunk;
    const end = this.received.indexOf('\r\n\r\n');
    if (end < 0 || !isComplete(this.received.slice(0, end), this.received.length - end - 4, this.received)) return;
    const status = Number(this.received.slice(9, 12));
    this.received = '';
    const { pending } = this;
    this.pending = undefined;
    pending?.resolve(status);
  }

  private fail(error: Error): void {
    this.pending?.reject(error);
    this.pending = undefined;
  }
}

function isComplete(head: string, bodyLength: number, all: string): boolean {
  const length = /\r\ncontent-length: *(\d+)/i.exec(head);
  if (length) return bodyLength >= Number(length[1]);
  return !/\r\ntransfer-encoding: *chunked/i.test(head) || all.endsWith('0\r\n\r\n');
}
