<?php
// A sample API for pfxhttp: php -S 127.0.0.1:8080 docs/samples/api.php
//
// It shows the form of requests and answers. A real API has a database, verifies hashes of passwords
// (password_verify), and runs behind a web server with TLS.

const MAILBOXES = ['bob@example.org' => 'secret'];
const DOMAINS = ['example.org'];
const BLOCKED = ['spammer@example.net'];

function answer(int $status, array $body, array $headers = []): void
{
    http_response_code($status);
    foreach ($headers as $header) {
        header($header);
    }
    header('Content-Type: application/json');
    echo json_encode((object) $body);
}

// The account of a login, or null.
function checked(array $login): ?string
{
    $known = MAILBOXES[$login['username']] ?? null;
    return $known !== null && hash_equals($known, $login['password']) ? $login['username'] : null;
}

$path = explode('?', $_SERVER['REQUEST_URI'])[0];

if ($_SERVER['REQUEST_METHOD'] === 'GET') {
    [, , $kind, $name] = explode('/', $path, 4) + ['', '', '', ''];
    $known = ['mailboxes' => array_keys(MAILBOXES), 'domains' => DOMAINS][$kind] ?? [];
    $name = rawurldecode($name);
    in_array($name, $known, true) ? answer(200, ['name' => $name]) : answer(404, ['message' => 'not found']);
    return;
}

$request = json_decode(file_get_contents('php://input'), true, flags: JSON_THROW_ON_ERROR);
switch ($path) {
    case '/v1/mailbox':
        $known = isset(MAILBOXES[$request['address']]);
        answer(200, ['data' => $known ? ['result' => $request['address']] : (object) []]);
        break;
    case '/v1/policy':
        $blocked = in_array($request['sender'] ?? '', BLOCKED, true);
        answer(200, ['action' => $blocked ? 'REJECT you are blocked' : 'DUNNO']);
        break;
    case '/v1/auth/json': // as Nauthilus: the answer is in headers
        $account = checked($request);
        if ($account === null) {
            answer(401, [], ['Auth-Status: wrong password']);
        } else {
            answer(200, [], ['Auth-Status: OK', "Auth-User: $account"]);
        }
        break;
    case '/v1/login': // the answer is in the body
        $account = checked($request);
        answer(200, ['ok' => $account !== null, 'user' => $account]);
        break;
    default:
        answer(404, []);
}
