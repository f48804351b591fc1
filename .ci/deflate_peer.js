// A peer of .ci/deflate: it sends messages, and wants each of them back. For Node: "client URL WISHES" or "server WISHES",
// with parameters of permessage-deflate as JSON; a server with CERTIFICATE and KEY in the environment speaks TLS. A
// browser calls `talk`.

const SIZES = [0, 1, 63, 64, 125, 126, 1000, 65_535, 65_536, 300_000, 1 << 20];
const RANDOM_SIZES = [1, 126, 5000, 65_536, 1 << 20];
const RECORDS = 300;

const utf8 = new TextEncoder();

function random(size) {
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += 65_536) {
        crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    }
    return bytes;
}

function* messages() {
    for (const size of SIZES) {
        const text = 'größer, 世界 🦀 '.repeat(size / 22).slice(0, size);
        const filled = text + 'x'.repeat(size - utf8.encode(text).length);
        yield filled;
        yield utf8.encode(filled);
    }
    yield* RANDOM_SIZES.map(random);
}

function record(number) {
    const token = () => [...random(8)].map(byte => byte.toString(16).padStart(2, '0')).join('');
    const values = {id: number, user: token(), room: token(), text: `${token()} and ${token()}`};
    const always = {kind: 'message', visible: true, edited: false, reactions: [], language: 'en'};
    return JSON.stringify({...values, ...always}).padEnd(270);
}

function same(sent, came) {
    if (typeof sent === 'string') {
        return sent === came;
    }
    const bytes = typeof came === 'string' ? utf8.encode('a text: ' + came) : new Uint8Array(came);
    return sent.length === bytes.length && sent.every((byte, index) => byte === bytes[index]);
}

// Returns the extensions that were negotiated.
async function talk(socket, records) {
    const came = [];
    let wake = () => {};
    socket.binaryType = 'arraybuffer';
    socket.onmessage = event => { came.push(event.data); wake(); };
    const closed = new Promise(resolve => { socket.onclose = event => { resolve(event); wake(); }; });
    socket.onerror = event => { socket.failed = event.message ?? 'it failed'; wake(); };
    if (socket.readyState === 0) {
        await new Promise(resolve => { socket.onopen = wake = resolve; });
    }
    const next = async () => {
        while (came.length === 0) {
            if (socket.readyState > 1 || socket.failed) {
                throw new Error(`it ended: ${socket.failed}`);
            }
            await new Promise(resolve => { wake = resolve; });
        }
        return came.shift();
    };
    const expect = async sent => {
        if (!same(sent, await next())) {
            throw new Error(`a message of ${sent.length} came back as another`);
        }
    };
    for (const message of messages()) {
        socket.send(message);
        await expect(message);
    }
    const all = Array.from({length: records}, (_, number) => record(number));
    all.forEach(text => socket.send(text));
    for (const text of all) {
        await expect(text);
    }
    socket.close(1000);
    const {code, wasClean} = await closed;
    if (code !== 1000 || !wasClean) {
        throw new Error(`it closed with ${code}`);
    }
    return socket.extensions;
}

function options(wishes) {
    return {
        threshold: 0,
        serverNoContextTakeover: wishes.server_no_context_takeover,
        clientNoContextTakeover: wishes.client_no_context_takeover,
        serverMaxWindowBits: wishes.server_max_window_bits,
        clientMaxWindowBits: wishes.client_max_window_bits,
    };
}

function listener({CERTIFICATE, KEY}) {
    if (!CERTIFICATE) {
        return require('http').createServer();
    }
    const {readFileSync} = require('fs');
    return require('https').createServer({cert: readFileSync(CERTIFICATE), key: readFileSync(KEY)});
}

async function main([role, ...rest]) {
    const {WebSocket, WebSocketServer} = require('ws');
    if (role === 'client') {
        const socket = new WebSocket(rest[0], {perMessageDeflate: options(JSON.parse(rest[1]))});
        await talk(socket, RECORDS);
    } else {
        const http = listener(process.env);
        const server = new WebSocketServer({server: http, perMessageDeflate: options(JSON.parse(rest[0]))});
        http.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${http.address().port}`));
        const socket = await new Promise(resolve => server.on('connection', resolve));
        await talk(socket, RECORDS);
        http.close();
    }
}

if (typeof require === 'function' && require.main === module) {
    main(process.argv.slice(2)).catch(error => { console.error(error); process.exit(1); });
}
