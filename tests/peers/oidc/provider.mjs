// A real identity provider on 127.0.0.1: oidc-provider, which the tests control through its pipes.
//
// The first line on stdin holds the settings, each further line a command. All are JSON:
//
//   {"port": 1, "ttl": 600, "jwks": {...}, "keys": [...], "tls": {"cert": "PEM", "key": "PEM"}}
//                               listens                              -> {"keys": [...]}
//   {"mint": {"sub": "u", "audience": "a", "format": "opaque", "alg": "RS256", "scope": "s",
//             "ttl": 60, "claims": {...}}}                           -> {"token": "..."}
//   {"rotate": {"keep": true}}  new signing keys; with `keep` the old ones stay in the JWKS
//                                                                    -> {"keys": [...]}
//   {"ttl": 5}                  how long client credentials last     -> {}
//   {"hits": true}              requests so far, by path             -> {"hits": {"/token": 1}}
//
// `ttl` is in seconds. `jwks` holds the public keys of the client that signs assertions, `keys` the
// private keys that sign tokens (by default, new ones). The provider's own models issue the tokens,
// so that introspection and signatures work as in production. A JWT needs an audience. At the token
// endpoint, `resource=https://api.test.example/ALG` requests a JWT with that audience, signed with
// ALG.
//
// The program ends at the end of stdin or on SIGTERM. It writes only answers to stdout.

import crypto, { generateKeyPair, randomUUID } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

if (!URL.parse || !crypto.hash) {
  console.error(`Node 20.20 or newer is needed, and this is ${process.version}: make provider`);
  process.exit(1);
}
console.info = console.error;
console.log = console.error;
process.on('SIGTERM', () => process.exit(0));

const SIGNATURES = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA',
];
const RESOURCE = 'https://api.test.example/';

const { default: Provider } = await import('oidc-provider');
const makeKeyPair = promisify(generateKeyPair);

// The extra claims of each token, which are needed when it is saved.
const extra = new WeakMap();

const state = { keys: [], provider: undefined, serve: undefined, ttl: 600, hits: {} };

async function makeKeys() {
  const kinds = [
    ['rsa', { modulusLength: 2048 }],
    ['ec', { namedCurve: 'P-256' }],
    ['ec', { namedCurve: 'P-384' }],
    ['ec', { namedCurve: 'P-521' }],
    ['ed25519', {}],
  ];
  return Promise.all(kinds.map(async ([kind, options]) => {
    const { privateKey } = await makeKeyPair(kind, options);
    return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig' };
  }));
}

function client(id, method, more) {
  return {
    client_id: id,
    token_endpoint_auth_method: method,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: 'mail',
    ...more,
  };
}

function resource(audience, format, alg) {
  return {
    scope: 'mail',
    audience,
    accessTokenFormat: format,
    ...(format === 'jwt' ? { jwt: { sign: { alg } } } : {}),
  };
}

function build(settings) {
  const clients = [
    // Characters that have to be form-encoded before they are base64 (RFC 6749 2.3.1).
    client('basic:client+1', 'client_secret_basic', { client_secret: 's3cr t:+%&=/?~' }),
    client('post-client', 'client_secret_post', { client_secret: 's3cr t:+%&=/?~' }),
    client('mail-program', 'none', { grant_types: [] }),
  ];
  if (settings.jwks) {
    clients.push(client('assertion-client', 'private_key_jwt', { jwks: settings.jwks }));
  }
  const scheme = settings.tls ? 'https' : 'http';
  const provider = new Provider(`${scheme}://127.0.0.1:${settings.port}`, {
    clients,
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    cookies: { keys: [randomUUID()] },
    enabledJWA: { clientAuthSigningAlgValues: SIGNATURES },
    extraTokenClaims: (_ctx, token) => extra.get(token),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, indicator) => {
          const alg = indicator.startsWith(RESOURCE) ? indicator.slice(RESOURCE.length) : '';
          return resource(indicator, SIGNATURES.includes(alg) ? 'jwt' : 'opaque', alg);
        },
      },
    },
    jwks: { keys: state.keys },
    scopes: ['mail'],
    ttl: { ClientCredentials: () => state.ttl, AccessToken: () => state.ttl },
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  state.provider = provider;
  state.serve = provider.callback();
}

async function mint({ sub, audience, format = 'opaque', alg = 'RS256', scope, ttl, claims }) {
  const { provider } = state;
  const token = new provider.AccessToken({
    accountId: sub,
    client: await provider.Client.find('mail-program'),
    scope,
    ...(ttl === undefined ? {} : { expiresIn: ttl }),
    ...(audience === undefined ? {} : {
      resourceServer: new provider.ResourceServer(audience, resource(audience, format, alg)),
    }),
  });
  extra.set(token, claims);
  return { token: await token.save() };
}

async function obey(settings, command) {
  if (command.mint) return mint(command.mint);
  if (command.rotate) {
    const fresh = await makeKeys();
    state.keys = command.rotate.keep ? [...fresh, ...state.keys] : fresh;
    build(settings);
    return { keys: state.keys };
  }
  if (command.ttl) {
    state.ttl = command.ttl;
    return {};
  }
  if (command.hits) return { hits: state.hits };
  throw new Error(`no such command: ${JSON.stringify(command)}`);
}

async function listen(settings) {
  state.ttl = settings.ttl ?? state.ttl;
  state.keys = settings.keys ?? await makeKeys();
  build(settings);
  const serve = (request, response) => {
    const path = request.url.split('?')[0];
    state.hits[path] = (state.hits[path] ?? 0) + 1;
    state.serve(request, response);
  };
  const server = settings.tls
    ? https.createServer(settings.tls, serve) : http.createServer(serve);
  await new Promise((done, failed) => {
    server.on('error', failed);
    server.listen(settings.port, '127.0.0.1', done);
  });
  return { keys: state.keys };
}

let settings;
for await (const line of createInterface({ input: process.stdin })) {
  const said = JSON.parse(line);
  let answering;
  if (settings === undefined) {
    settings = said;
    answering = listen(settings);
  } else {
    answering = obey(settings, said);
  }
  const answer = await answering.catch((error) => ({ error: error.stack }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
