// The page's connection: it joins a room and resumes behind the last event, by the journal's replay if the server
// keeps one. It does not look into the events.
import { io, type Socket } from 'socket.io-client';
import { followQuery, parser } from './parser.js';

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

/** The status of the server's journal. */
interface JournalStatus extends Ack {
  journal?: string;
  first?: number;
  last?: number;
}

const SLOW = 10_000; // the page says that the server has not answered yet; the answer still counts
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
  private journalId = '';
  private slow: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: LinkOptions) {
    this.socket = io(options.namespace === '/' ? '' : options.namespace, {
      path: options.path,
      autoConnect: false,
      reconnectionDelay: 500,
      reconnectionDelayMax: 3000,
      timeout: 10_000,
      query: followQuery,
      parser,
    });
    this.socket.on('connect', () => this.connected());
    this.socket.on('disconnect', (reason) => {
      clearTimeout(this.slow);
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
    this.socket.on('caught_up', () => this.caughtUp());
    this.socket.on('journal', (s: JournalStatus) => {
      if (this.journal === 'unknown') {
        this.announced(s);
        return;
      }
      this.trouble = s?.ok === false ? (s.error?.message ?? 'no reason given') : '';
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
    clearTimeout(this.slow);
    this.socket.disconnect();
  }

  /** Leaves the room and goes to another. */
  changeRoom(room: string): void {
    if (room === this.room) return;
    const old = this.room;
    this.room = room;
    this.roomError = '';
    this.caughtUp();
    this.offset = NaN; // the other room's earlier events are wanted too
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
  }

  /** Handles the first event of a connection, the status of the journal. */
  private announced(s: JournalStatus): void {
    if (s?.ok) {
      this.journal = 'yes';
      // The offset of another journal is no place in this one.
      if (s.journal !== this.journalId || !((s.last ?? 0) >= this.offset)) this.offset = NaN;
      this.journalId = s.journal ?? '';
      this.join(Number.isNaN(this.offset) ? this.recent() : { offset: this.offset + 1 });
    } else if (s?.error?.code === undefined || s.error.code === 'no_journal') {
      this.journal = 'no';
      this.join(null);
    } else {
      this.trouble = s.error.message ?? s.error.code;
      setTimeout(() => this.socket.connected && this.journal === 'unknown' && this.socket.disconnect().connect(), AGAIN);
    }
    this.options.onChange();
  }

  private recent(): Since {
    return { time: new Date(Date.now() - this.options.reach).toISOString() };
  }

  /** Joins the room, and follows from there if the server keeps a journal. */
  private join(since: Since | null): void {
    const room = this.room;
    if (this.journal === 'no') since = null;
    const number = (this.joining = ++this.joins);
    if (!room && !since) {
      this.joining = 0;
      return; // events for everyone come without a join
    }
    clearTimeout(this.slow);
    this.slow = setTimeout(() => {
      this.roomError = 'the server has not answered yet';
      this.options.onChange();
    }, SLOW);
    const request = since ? { ...(room && { room }), since, offsets: true } : room;
    if (since) this.replaying();
    this.socket.emit('join', request, (ack?: Ack) => {
      if (number !== this.joining) return;
      clearTimeout(this.slow);
      this.joining = 0;
      this.roomError = ack?.ok === false ? (ack.error?.message ?? 'the server refuses') : '';
      if (this.roomError) {
        this.caughtUp();
        if (ack?.error?.code?.startsWith('journal')) setTimeout(() => number === this.joins && this.socket.connected && this.join(since), AGAIN);
      }
      this.options.onChange();
    });
  }

  private deliver(value: unknown, extra: unknown): void {
    if (this.journal === 'unknown') this.announced({}); // a server that does not know the declaration
    const e = extra as { offset?: unknown; replayed?: unknown } | null | undefined;
    const offset = typeof e?.offset === 'number' ? e.offset : NaN;
    const replayed = e?.replayed === true;
    if (!Number.isNaN(offset)) {
      if (this.joining) return; // from before the join; the replay brings it again
      this.offset = offset;
    }
    if (replayed) this.replaying(); // also one that has fallen behind
    this.options.onDelivery({ value, at: Date.now(), offset, replayed });
  }

  private replaying(): void {
    if (this.state === 'live') this.change('replaying', '');
  }

  private caughtUp(): void {
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
