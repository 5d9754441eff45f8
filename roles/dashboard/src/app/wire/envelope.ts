// What arrives as log_telemetry, made readable: an envelope as a JSON object or as protobuf, its packet
// flattened to channels. It knows no channel by name: groups and channels are whatever the packet has.
import { fromBinary, type DescField, type Message } from '@bufbuild/protobuf';
import { EnvelopeSchema } from './gen/envelope_pb.js';
import { PacketSchema } from './gen/packet_pb.js';

/** One reading of one machine. */
export interface Reading {
  readonly source: string;
  readonly boot: string;
  readonly seq: number;
  readonly room: string;
  /** Of the reading, by the source's clock, in ms since 1970; NaN if it has none. */
  readonly time: number;
  readonly encoding: 'json' | 'protobuf';
  /** Text beside the channels: state, phase, machine. */
  readonly texts: ReadonlyMap<string, string>;
  /** Numbers by channel id, "thrust.total"; what stands outside a group has no dot, "ring". */
  readonly values: ReadonlyMap<string, number>;
}

// "TBM" and 1, little-endian: begins every protobuf envelope (transport/envelope_proto.go).
const MAGIC = [0x0d, 0x54, 0x42, 0x4d, 0x01];
const MAX_CHANNELS = 512;
const MAX_DEPTH = 4;

/** The bytes of a binary value, or null. */
export function bytesOf(value: unknown): Uint8Array | null {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return null;
}

/** Reads an envelope; null for any other value, which is no error: clients may send what they like. */
export function readEnvelope(value: unknown): Reading | null {
  const bytes = bytesOf(value);
  if (bytes) return readProto(bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const e = value as Record<string, unknown>;
  const { source, boot, seq, room, time } = e;
  if (typeof source !== 'string' || source === '' || typeof boot !== 'string' || boot === '') return null;
  if (typeof seq !== 'number' || !Number.isInteger(seq) || seq < 1 || !('packet' in e)) return null;
  const flat = new Flat();
  flat.json('', e['packet'], 0);
  return {
    source, boot, seq, encoding: 'json', texts: flat.texts, values: flat.values,
    room: typeof room === 'string' ? room : '',
    time: typeof time === 'string' ? Date.parse(time) : NaN,
  };
}

/** The protobuf packet as an object, for people to look at; null if it is none. */
export function describeProto(value: unknown): Record<string, unknown> | null {
  const bytes = bytesOf(value);
  const e = bytes && readProto(bytes);
  if (!e) return null;
  const packet: Record<string, unknown> = Object.fromEntries(e.texts);
  for (const [id, v] of e.values) {
    const [group, channel] = splitId(id);
    if (group === '') packet[channel] = v;
    else ((packet[group] ??= {}) as Record<string, number>)[channel] = v;
  }
  const time = Number.isNaN(e.time) ? undefined : new Date(e.time).toISOString();
  return { source: e.source, boot: e.boot, seq: e.seq, time, ...(e.room && { room: e.room }), packet };
}

/** Group and channel of an id: "thrust.total" is of "thrust". */
export function splitId(id: string): [group: string, channel: string] {
  const dot = id.indexOf('.');
  return dot < 0 ? ['', id] : [id.slice(0, dot), id.slice(dot + 1)];
}

function readProto(bytes: Uint8Array): Reading | null {
  if (bytes.length < MAGIC.length || MAGIC.some((b, i) => bytes[i] !== b)) return null;
  try {
    const e = fromBinary(EnvelopeSchema, bytes, { readUnknownFields: false });
    if (e.source === '' || e.boot === '' || e.seq === 0n) return null;
    const flat = new Flat();
    flat.proto('', PacketSchema.fields, fromBinary(PacketSchema, e.packet, { readUnknownFields: false }));
    return {
      source: e.source, boot: e.boot, seq: Number(e.seq), room: e.room, encoding: 'protobuf', texts: flat.texts, values: flat.values,
      time: Number(e.timeUnixNano / 1000n) / 1000,
    };
  } catch {
    return null; // cut off, or another message: as good as any other bytes
  }
}

/** A packet on its way to channels. */
class Flat {
  readonly texts = new Map<string, string>();
  readonly values = new Map<string, number>();

  json(id: string, v: unknown, depth: number): void {
    if (this.values.size >= MAX_CHANNELS) return;
    switch (typeof v) {
      case 'number':
        this.values.set(id || 'value', v);
        break;
      case 'boolean':
        this.values.set(id || 'value', v ? 1 : 0);
        break;
      case 'string':
        if (this.texts.size < MAX_CHANNELS) this.texts.set(id || 'value', v);
        break;
      case 'object':
        if (v === null || depth >= MAX_DEPTH) return;
        for (const [key, inner] of Object.entries(v)) this.json(id ? `${id}.${key}` : key, inner, depth + 1);
    }
  }

  proto(prefix: string, fields: readonly DescField[], message: Message): void {
    const m = message as unknown as Record<string, unknown>;
    for (const f of fields) {
      const v = m[f.localName];
      const id = prefix ? `${prefix}.${f.name}` : f.name;
      switch (f.fieldKind) {
        case 'scalar':
          if (typeof v === 'string') {
            if (v !== '') this.texts.set(id, v);
          } else if (typeof v === 'number' || typeof v === 'bigint' || typeof v === 'boolean') {
            this.values.set(id, Number(v));
          }
          break;
        case 'enum':
          this.texts.set(id, f.enum.value[v as number]?.localName.toLowerCase() ?? String(v));
          break;
        case 'message':
          if (v) this.proto(id, f.message.fields, v as Message);
      }
    }
  }
}
