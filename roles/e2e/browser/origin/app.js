// An application as it was written when the origin was: Angular 11, socket.io-client 3.1, the event
// telemetry, each reading a map with min, actual and max; served from another origin than the server's.
'use strict';
const server = new URLSearchParams(location.search).get('server');

class AppComponent {
  constructor() {
    this.readings = [];
    this.version = ng.core.VERSION.full;
    this.socket = io(server);
    this.socket.on('telemetry', (data) => {
      this.readings = Object.entries(data).map(([name, r]) => ({ name, ...r }));
    });
  }
}
AppComponent.annotations = [new ng.core.Component({
  selector: 'app-root',
  template: `<h1>Angular {{ version }}</h1>
    <p *ngFor="let r of readings" [id]="r.name">{{ r.name }} {{ r.min }} {{ r.actual | number: '1.1-1' }} {{ r.max }}</p>`,
})];

class AppModule {}
AppModule.annotations = [new ng.core.NgModule({ imports: [ng.platformBrowser.BrowserModule], declarations: [AppComponent], bootstrap: [AppComponent] })];

ng.core.enableProdMode();
ng.platformBrowserDynamic.platformBrowserDynamic().bootstrapModule(AppModule).catch((e) => console.error(e));
