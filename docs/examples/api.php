<?php
// Sends a message by the API. PHP 8, no extension.
$message = [
    'from' => ['email' => 'hello@shop.example', 'name' => 'The shop'],
    'to' => [['email' => 'ada@example.org']],
    'subject' => 'Your order is on its way',
    'text' => 'It is on its way.',
    'html' => '<p>It is <b>on its way</b>.</p>',
    'category' => 'orders',
    'custom_variables' => ['order' => 1234],
];
// The same key for each try of the same message: it is sent once, however often an answer is lost.
$key = bin2hex(random_bytes(16));
$context = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => ['Authorization: Bearer ' . getenv('RELEVO_TOKEN'), 'Content-Type: application/json', "Idempotency-Key: $key"],
    'content' => json_encode($message, JSON_THROW_ON_ERROR),
    'timeout' => 60,
    'ignore_errors' => true,
]]);
foreach ([1, 5, 30, null] as $pause) {
    $http_response_header = [];
    $text = @file_get_contents(getenv('RELEVO_API') . '/api/send', false, $context);
    $said = json_decode((string) $text, true);
    $status = (int) (explode(' ', $http_response_header[0] ?? '')[1] ?? 0);
    if ($status === 200) {
        echo 'taken: ' . implode(', ', $said['message_ids']) . "\n";
        exit(0);
    }
    $words = $status ? "$status: " . implode('; ', $said['errors'] ?? []) : 'the relay cannot be reached';
    // 409: an earlier try is worked on still. 429 and 503: later. All else will not be taken as it is.
    if ($pause === null || !in_array($status, [0, 409, 429, 503, 504], true)) {
        fwrite(STDERR, "$words\n");
        exit(1);
    }
    $after = preg_grep('/^retry-after: \d+$/i', $http_response_header);
    sleep(max($pause, $after ? (int) explode(' ', end($after))[1] : 0));
}
