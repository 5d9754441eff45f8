// The line itself: this page's connection, the server, its rooms and who is connected.
import { ChangeDetectionStrategy, Component, DestroyRef, computed, inject } from '@angular/core';
import { rate, span } from '../format';
import { Store } from '../store';

const EVERY = 2000;

@Component({
  selector: 'tbm-line',
  changeDetection: ChangeDetectionStrategy.OnPush,
  host: { class: 'line-view', 'data-testid': 'line' },
  template: `
    @let l = store.linkState();
    <section class="card">
      <h2>This page</h2>
      <dl>
        <dt>Connection</dt><dd>{{ l.state }} for {{ since() }}{{ l.reason && ' (' + l.reason + ')' }}</dd>
        <dt>Room</dt><dd>{{ l.room || 'none: only what is for everyone' }} {{ l.roomError && '– ' + l.roomError }}</dd>
        <dt>Journal</dt><dd>{{ journal() }}</dd>
        <dt>Connected again</dt><dd>{{ store.link.reconnects }} times</dd>
        <dt>Left out by the server</dt><dd>{{ l.dropped }} events, as this page was slow</dd>
        <dt>Dictionary</dt><dd>{{ store.dictionaryError() || store.dictionary().groups.length + ' groups' }}</dd>
      </dl>
    </section>
    <section class="card">
      <h2>Sources</h2>
      <table>
        <thead><tr><th>Name</th><th>Machine</th><th>Form</th><th class="r">Packets/s</th><th class="r">Received</th><th class="r">Missing</th><th class="r">Repeats</th><th class="r">Runs</th><th class="r">Clock</th></tr></thead>
        <tbody>
          @for (s of sources(); track s.name) {
            <tr><td>{{ s.name }}</td><td>{{ s.machine }}</td><td>{{ s.form }}</td><td class="r">{{ s.rate }}</td><td class="r">{{ s.received }}</td>
              <td class="r" [class.bad]="s.missing > 0">{{ s.missing }}</td><td class="r">{{ s.repeats }}</td><td class="r">{{ s.boots }}</td><td class="r">{{ s.clock }}</td></tr>
          } @empty { <tr><td colspan="9" class="quiet">None yet.</td></tr> }
        </tbody>
      </table>
    </section>
    @if (store.status(); as st) {
      <section class="card">
        <h2>Server</h2>
        <dl>
          <dt>Version</dt><dd>{{ st.version }}</dd>
          <dt>Running for</dt><dd>{{ uptime() }}</dd>
          <dt>Events</dt><dd>{{ st.events_in }} in, {{ st.events_out }} out, {{ st.dropped }} dropped for slow clients</dd>
          <dt>Connections</dt><dd>{{ st.clients }} open, {{ st.refused }} refused</dd>
        </dl>
      </section>
      @for (n of st.namespaces; track n.name) {
        <section class="card rooms">
          <h2>Rooms {{ st.namespaces.length > 1 ? 'in ' + n.name : '' }}</h2>
          <ul>
            @for (r of n.rooms; track r.name) {
              <li><button type="button" [class.on]="r.name === l.room" [disabled]="n.name !== store.namespace" (click)="store.changeRoom(r.name)">{{ r.name }}</button> {{ r.members }} {{ r.members === 1 ? 'client' : 'clients' }}</li>
            } @empty { <li class="quiet">No room has a member.</li> }
          </ul>
        </section>
        <section class="card clients">
          <h2>Clients {{ st.namespaces.length > 1 ? 'in ' + n.name : '' }} <span class="note">{{ n.count }}</span></h2>
          <table>
            <thead><tr><th>Id</th><th>Address</th><th>Engine.IO</th><th>By</th><th>Rooms</th><th>For</th><th>Program</th></tr></thead>
            <tbody>
              @for (c of n.clients; track $index) {
                <tr [class.self]="self(c.id)"><td><code>{{ c.id }}</code> {{ self(c.id) ? 'this page' : '' }}</td><td>{{ c.address || '–' }}</td><td>{{ c.engine }}</td><td>{{ c.transport }}</td>
                  <td>{{ c.rooms.join(', ') || '–' }}</td><td>{{ ago(c.since) }}</td><td class="agent" [title]="c.agent ?? ''">{{ c.agent }}</td></tr>
              }
            </tbody>
          </table>
          @if (n.count > n.clients.length) { <p class="quiet">and {{ n.count - n.clients.length }} more</p> }
        </section>
      }
    } @else {
      <section class="card"><h2>Server</h2><p class="quiet">The server does not say who is connected.</p></section>
    }
  `,
})
export class LineView {
  readonly store = inject(Store);

  constructor() {
    void this.store.loadStatus();
    const timer = setInterval(() => void this.store.loadStatus(), EVERY);
    inject(DestroyRef).onDestroy(() => clearInterval(timer));
  }

  readonly since = computed(() => {
    this.store.figures();
    return span(this.store.now - this.store.linkState().since);
  });
  readonly journal = computed(() => ({
    unknown: 'not asked yet: join a room',
    yes: 'kept: what was missed is replayed',
    no: 'none: what happens while this page is away is not shown',
  })[this.store.linkState().journal]);
  readonly uptime = computed(() => {
    this.store.figures();
    return span(this.store.now - Date.parse(this.store.status()?.started ?? ''));
  });
  readonly sources = computed(() => {
    this.store.figures();
    return this.store.sources().map((s) => {
      const ahead = s.arrival.replayed ? NaN : s.time - s.arrival.at;
      return {
        name: s.name, machine: s.machine || '–', form: s.last?.encoding ?? '', rate: rate(s.rate), received: s.line.received, missing: s.line.missing,
        repeats: s.line.repeats, boots: s.boots,
        clock: Math.abs(ahead) < 2000 ? 'as here' : Number.isNaN(ahead) ? '–' : `${span(Math.abs(ahead))} ${ahead > 0 ? 'ahead' : 'behind'}`,
      };
    });
  });

  self(id: string): boolean {
    return this.store.linkState().sid.startsWith(id);
  }

  ago(since: string | undefined): string {
    return since ? span(this.store.now - Date.parse(since)) : '–';
  }
}
