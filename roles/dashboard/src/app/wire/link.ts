// The page's connection: it joins a room from where it left off, takes the journal's replay if the
// server has one, and tells in which state it is. It does not look inside what it is sent.
import { io, type Socket } from 'socket.io-client';

export type LinkState =
  | 'connecting' // for the first time
  | 'lost' // it was connected, and tries again
  | 'refused' // the server does not let it in
  | 'replaying' // connected, and catching up
  | 'live';

/** Where a replay begins. */
export type Since = { readonly offset: number } | { readonly time: string } | { readonly last: number };

/** An event with what the journal says of it. */
export interface Delivery {
  readonly value: unknown;
  readonly at: number; // when it arrived, ms since 1970
  readonly offset: number; // NaN without a journal
  readonly replayed: boolean;
}

export interface LinkOptions {
  readonly path: string;
  readonly namespace: string;
  /** How far back the first join of a room reaches, ms. */
  readonly reach: number;
  onDelivery(d: Delivery): void;
  onChange(): void;
}

interface Ack {
  ok?: boolean;
  room?: string;
  error?: { code?: string; message?: string };
}

/** What the server says of its journal. */
interface JournalStatus extends Ack {
  first?: number;
  last?: number;
}

const ACK_TIMEOUT = 10_000;
const QUIET = 1000; // a replay that says nothing for so long is over
const MAX_HELD = 20_000;
const AGAIN = 2000; // after the journal could not be read

/** The connection to the server. */
export class Link {
  state: LinkState = 'connecting';
  stateSince = Date.now();
  reason = ''; // why it is not connected
  sid = '';
  room = ''; // that is joined, or wanted; "" for none
  roomError = '';
  journal: 'unknown' | 'yes' | 'no' = 'unknown';
  dropped = 0; // events that the server left out, because this page was slow
  offset = NaN; // of the last event
  trouble = ''; // why the journal takes nothing
  reconnects = 0;

  private readonly socket: Socket;
  private joining = 0; // number of the join under way, 0 for none
  private joins = 0;
  private held: Delivery[] | null = null; // live events that wait for the end of a replay
  private quiet: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: LinkOptions) {
    this.socket = io(options.namespace === '/' ? '' : options.namespace, {
      path: options.path,
      autoConnect: false,
      reconnectionDelay: 500,
      reconnectionDelayMax: 3000,
      timeout: 10_000,
    });
    this.socket.on('connect', () => this.connected());
    this.socket.on('disconnect', (reason) => {
      this.endReplay(true);
      this.joining = 0;
      this.change('lost', reasons[reason] ?? reason);
      // The server ended it in order; the library does not come back from that by itself.
      if (reason === 'io server disconnect') this.socket.connect();
    });
    this.socket.on('connect_error', (e) => {
      if (this.state === 'live' || this.state === 'replaying') return;
      // An answer of the server, not a failure to reach it: ask again, but not at once.
      if (!this.socket.active) {
        this.change('refused', e.message);
        setTimeout(() => this.socket.connect(), 3000);
        return;
      }
      this.reason = 'the server cannot be reached';
      options.onChange();
    });
    this.socket.on('log_telemetry', (value: unknown, extra?: unknown) => this.deliver(value, extra));
    this.socket.on('journal', (s: JournalStatus) => {
      this.trouble = s?.ok === false ? (s.error?.message ?? 'for a reason that it does not tell') : '';
      options.onChange();
    });
    this.socket.on('dropped', (d: { count?: number }) => {
      this.dropped += d?.count ?? 0;
      options.onChange();
    });
  }

  get path(): string {
    return this.options.path;
  }

  open(room: string): void {
    this.room = room;
    this.socket.connect();
  }

  close(): void {
    clearTimeout(this.quiet);
    this.socket.disconnect();
  }

  /** Leaves the room and goes to another. */
  changeRoom(room: string): void {
    if (room === this.room) return;
    const old = this.room;
    this.room = room;
    this.roomError = '';
    this.endReplay(false);
    this.offset = NaN; // what the other room has had lies before it, too
    if (this.socket.connected) {
      if (old) this.socket.emit('leave', old);
      this.join(this.recent());
    }
    this.options.onChange();
  }

  private connected(): void {
    this.sid = this.socket.id ?? '';
    this.journal = 'unknown';
    if (this.state === 'lost') this.reconnects++;
    this.change('live', '');
    this.trouble = '';
    this.held = [];
    // Another journal, of a server that kept it in memory, counts from the beginning: what this page
    // had last may be far ahead of it, and would be waited for in vain.
    this.socket.timeout(ACK_TIMEOUT).emit('journal', (err: Error | null, s?: JournalStatus) => {
      if (!err && s?.ok && !((s.last ?? 0) >= this.offset)) this.offset = NaN;
      if (!err && s?.ok === false && s.error?.code === 'no_journal') {
        this.journal = 'no';
        this.endReplay(false);
        this.join(null);
        return;
      }
      this.join(Number.isNaN(this.offset) ? this.recent() : { offset: this.offset });
    });
  }

  private recent(): Since {
    return { time: new Date(Date.now() - this.options.reach).toISOString() };
  }

  /** Joins the room, from there if the server keeps a journal. What comes before its answer waits: an
   *  event of now must not be taken before those that are missing. */
  private join(since: Since | null): void {
    const room = this.room;
    if (this.journal === 'no') since = null;
    const number = (this.joining = ++this.joins);
    if (!room && !since) {
      this.joining = 0;
      return; // what is for everyone comes by itself
    }
    if (since) this.held ??= [];
    const request = since ? (room ? { room, since } : { since }) : room;
    this.socket.timeout(ACK_TIMEOUT).emit('join', request, (err: Error | null, ack?: Ack) => {
      if (number !== this.joining) return;
      this.joining = 0;
      if (!err && ack?.ok === false && ack.error?.code === 'no_journal' && since) {
        this.journal = 'no';
        this.endReplay(false);
        this.join(null);
        return;
      }
      this.roomError = err ? 'the server does not answer' : ack?.ok === false ? (ack.error?.message ?? 'the server refuses') : '';
      if (this.roomError) {
        this.endReplay(false);
        if (ack?.error?.code?.startsWith('journal')) setTimeout(() => number === this.joins && this.socket.connected && this.join(since), AGAIN);
      } else if (since) {
        this.journal = 'yes';
        this.replaying();
      }
      this.options.onChange();
    });
  }

  private deliver(value: unknown, extra: unknown): void {
    const e = extra as { offset?: unknown; replayed?: unknown } | null | undefined;
    const offset = typeof e?.offset === 'number' ? e.offset : NaN;
    const replayed = e?.replayed === true;
    const d: Delivery = { value, at: Date.now(), offset, replayed };
    if (!Number.isNaN(offset)) {
      if (offset <= this.offset) return; // it has been here
      this.offset = offset;
    }
    if (replayed) {
      this.replaying();
    } else if (this.held && !Number.isNaN(offset)) {
      this.endReplay(false); // the seam
    } else if (this.held) {
      if (this.held.length < MAX_HELD) this.held.push(d);
      return;
    }
    this.options.onDelivery(d);
  }

  private replaying(): void {
    if (this.state === 'live') this.change('replaying', '');
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => this.endReplay(false), QUIET);
  }

  private endReplay(cut: boolean): void {
    clearTimeout(this.quiet);
    const held = this.held;
    this.held = null;
    for (const d of cut ? [] : (held ?? [])) this.options.onDelivery(d);
    if (this.state === 'replaying') this.change('live', '');
  }

  private change(state: LinkState, reason: string): void {
    if (state !== this.state) this.stateSince = Date.now();
    this.state = state;
    this.reason = reason;
    this.options.onChange();
  }
}

const reasons: Record<string, string> = {
  'transport close': 'the connection broke',
  'transport error': 'the connection broke',
  'ping timeout': 'the server has gone silent',
  'io server disconnect': 'the server ended the connection',
};
